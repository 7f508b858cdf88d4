// The API of the service, with the types of its OpenAPI document. Addresses are relative to the page, so that the console also works
// below the prefix of a proxy.

import type { components, operations } from "./api-types";

/** A type of the OpenAPI document: `Schema<"Alert">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

type Json<Answer> = Answer extends { content: { "application/json": infer Body } } ? Body : never;
type OkOf<Operation> = Operation extends { responses: { 200: infer Answer } } ? Json<Answer> : never;
type QueryOf<Operation> = Operation extends { parameters: { query?: infer Query } } ? Query : never;
type BodyOf<Operation> = Operation extends { requestBody: { content: { "application/json": infer Body } } } ? Body : never;

/** The verbs that change something or have a large request. */
export type PostVerb = { [Name in keyof operations]: BodyOf<operations[Name]> extends never ? never : Name }[keyof operations];
/** The verbs that only answer. */
export type GetVerb = Exclude<keyof operations, PostVerb>;

/** The answer of a verb. */
export type Answer<Name extends keyof operations> = OkOf<operations[Name]>;
/** The request of a verb. */
export type Request<Name extends keyof operations> = Name extends PostVerb
  ? BodyOf<operations[Name]>
  : NonNullable<QueryOf<operations[Name]>>;

/** An error of the API. `problem` is what is wrong, `where` is the parameter or key, `remedy` is what to do. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: string,
    readonly where?: string,
    readonly remedy?: string,
  ) {
    super(remedy ? `${problem}. ${remedy}` : problem);
    this.name = "ApiError";
  }
}

/** The address of `path` below /api/v1/, wherever the console is served. */
export function apiUrl(path: string): string {
  return new URL(`../api/v1/${path}`, document.baseURI).href;
}

/** The address of a picture, from the address in an answer (`/api/v1/pictures/7`). */
export function pictureUrl(address: string): string {
  return new URL(`..${address.startsWith("/") ? "" : "/"}${address}`, document.baseURI).href;
}

/** Asks a verb that changes nothing. */
export function get<Name extends GetVerb>(verb: Name, request?: Request<Name>, signal?: AbortSignal): Promise<Answer<Name>> {
  return call("GET", verb, request as Record<string, unknown> | undefined, signal);
}

/** Asks a verb that changes something, or whose request is large. */
export function post<Name extends PostVerb>(verb: Name, request: Request<Name>, signal?: AbortSignal): Promise<Answer<Name>> {
  return call("POST", verb, request as Record<string, unknown>, signal);
}

/** Asks any verb. For verbs that are not in api-types.ts yet: pages use `get` and `post`. */
export async function call<Answer>(
  method: "GET" | "POST",
  verb: string,
  request: Record<string, unknown> = {},
  signal?: AbortSignal,
): Promise<Answer> {
  const parameters = method === "GET" ? query(request) : "";
  const response = await send(method, apiUrl(parameters ? `${verb}?${parameters}` : verb), method === "POST" ? request : undefined, signal);
  return (await response.json()) as Answer;
}

/** Sends a file as the body of a request. The other fields of the request are parameters of the address. */
export async function upload<Answer>(verb: string, request: Record<string, unknown>, file: Blob, signal?: AbortSignal): Promise<Answer> {
  const parameters = query(request);
  const response = await send("POST", apiUrl(parameters ? `${verb}?${parameters}` : verb), file, signal);
  return (await response.json()) as Answer;
}

/** Sends a request to an address of the service, with a body of JSON, or with a file. Every answer that is no success is thrown. */
export async function send(
  method: "GET" | "POST" | "DELETE",
  address: string,
  body?: Record<string, unknown> | Blob,
  signal?: AbortSignal,
): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-cache" };
  if (signal) init.signal = signal;
  if (body) {
    headers["Content-Type"] = body instanceof Blob ? body.type || "application/octet-stream" : "application/json";
    init.body = body instanceof Blob ? body : JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(address, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "the service does not answer", undefined, "Check that it runs and that this device reaches it.");
  }
  if (response.ok) return response;
  if (response.status === 401) signedOut.forEach((listener) => listener());
  throw await problem(response);
}

const signedOut = new Set<() => void>();

/** Calls `listener` when the service asks for a sign-in. Returns the function that ends this. */
export function onSignedOut(listener: () => void): () => void {
  signedOut.add(listener);
  return () => signedOut.delete(listener);
}

/** The parameters of an address; a list is a parameter that is repeated. */
function query(request: Record<string, unknown>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(request)) {
    if (Array.isArray(value)) value.forEach((item) => parameters.append(name, String(item)));
    else if (value !== undefined && value !== null && value !== "") parameters.append(name, String(value));
  }
  return parameters.toString();
}

async function problem(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as { detail?: string; title?: string; where?: string; remedy?: string };
    return new ApiError(response.status, body.detail ?? body.title ?? response.statusText, body.where, body.remedy);
  } catch {
    return new ApiError(response.status, `the service answered ${response.status} ${response.statusText}`.trim());
  }
}
