// The same request by program: with the openai client, and with curl.

export function python(base, settings, messages) {
  const lines = [
    "import os",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${quoted(base)}, api_key=os.environ["COMMONWEAL_KEY"])`,
    "stream = client.chat.completions.create(",
    `    model=${quoted(settings.model)},`,
    "    messages=[",
    ...messages.map((m) => `        {"role": ${quoted(m.role)}, "content": ${quoted(m.content)}},`),
    "    ],",
    `    temperature=${settings.temperature},`,
    `    max_tokens=${settings.maxTokens},`,
    ...(settings.seed === null ? [] : [`    seed=${settings.seed},`]),
    ...(settings.trusted ? ['    extra_headers={"X-Commonweal-Trusted": "true"},'] : []),
    "    stream=True,",
    ")",
    "for chunk in stream:",
    "    if chunk.choices:",
    '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
  ];
  return lines.join("\n");
}

export function curl(base, settings, messages) {
  const body = {
    model: settings.model,
    messages,
    temperature: settings.temperature,
    max_tokens: settings.maxTokens,
    ...(settings.seed === null ? {} : { seed: settings.seed }),
    stream: true,
  };
  const data = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const trusted = settings.trusted ? '  -H "X-Commonweal-Trusted: true" \\\n' : "";
  return (
    `curl -N ${base}/chat/completions \\\n` +
    '  -H "Authorization: Bearer $COMMONWEAL_KEY" \\\n' +
    '  -H "Content-Type: application/json" \\\n' +
    `${trusted}  -d '${data}'`
  );
}

// A JSON string is a Python string: both know the same escapes.
const quoted = (text) => JSON.stringify(text);
