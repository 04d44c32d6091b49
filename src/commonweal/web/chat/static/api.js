// The hub's API: requests with the key of this tab, errors as one class, answers as they come.

const BASE = new URL("v1/", location.href);

export class ApiError extends Error {
  // `status` is 0 where the hub could not be reached.
  constructor({ status = 0, code = null, message = "", wait = null }) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }
}

export class Api {
  constructor(key) {
    this.key = key;
  }

  get(path) {
    return this.send("GET", path);
  }

  async send(method, path, body) {
    const response = await this.#fetch(method, path, body);
    return response.json();
  }

  async download(path) {
    const response = await this.#fetch("GET", path);
    return response.blob();
  }

  // The events of an answer: {type: "began" | "delta" | "done" | "error", ...}. Aborting `signal` stops the answer.
  async *stream(path, body, signal) {
    const response = await this.#fetch("POST", path, body, signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value;
        const lines = rest.split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (!line.startsWith("data: ")) continue;
          const event = JSON.parse(line.slice(6));
          if (event.type === "error") throw new ApiError({ status: 200, ...event.error });
          yield event;
        }
      }
    } catch (error) {
      if (error instanceof ApiError || error.name === "AbortError") throw error;
      throw new ApiError({ code: "broken_off", message: String(error) });
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  async #fetch(method, path, body, signal) {
    const headers = { Authorization: `Bearer ${this.key}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(new URL(path, BASE), {
        method,
        headers,
        signal,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError({ message: String(error) });
    }
    if (!response.ok) throw await refused(response);
    return response;
  }
}

async function refused(response) {
  const wait = Number(response.headers.get("Retry-After")) || null;
  try {
    const { error } = await response.json();
    return new ApiError({ status: response.status, code: error.code, message: error.message, wait });
  } catch {
    return new ApiError({ status: response.status, wait });
  }
}
