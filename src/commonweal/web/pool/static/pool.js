// The elements of the pool's pages.

import "./joined.js";
import "./live.js";
import "./signed.js";
