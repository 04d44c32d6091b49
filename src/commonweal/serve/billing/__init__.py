"""What an answer costs and who is paid: holds on tabs, usage, settlement."""
