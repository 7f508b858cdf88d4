// The API of the service, with the types of its OpenAPI document. Addresses are relative to the page, so that the console also works
// below the prefix of a proxy.

import type { components, operations } from "./api-types";

/** A type of the OpenAPI document: `Schema<"Alert">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

type Json<Answer> = Answer extends { content: { "application/json": infer Body } } ? Body : never;
type OkOf<Operation> = Operation extends { responses: { 200: infer Answer } } ? Json<Answer> : never;
type QueryOf<Operation> = Operation extends { parameters: { query?: infer Query } } ? Query : never;
type BodyOf<Operation> = Operation extends { requestBody: { content: { "application/json": infer Body } } } ? Body : never;
type FileOf<Operation> = Operation extends { requestBody: { content: { "image/*": infer Body } } } ? Body : never;

/** The verbs that change something or have a large request. */
export type PostVerb = { [Name in keyof operations]: BodyOf<operations[Name]> extends never ? never : Name }[keyof operations];
/** The verbs whose body is a file. */
export type FileVerb = { [Name in keyof operations]: FileOf<operations[Name]> extends never ? never : Name }[keyof operations];
/** The verbs that only answer. */
export type GetVerb = Exclude<keyof operations, PostVerb | FileVerb>;

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
export async function get<Name extends GetVerb>(verb: Name, request?: Request<Name>, signal?: AbortSignal): Promise<Answer<Name>> {
  const response = await send("GET", withParameters(verb, request), undefined, signal);
  return response.json();
}

/** Asks a verb that changes something, or whose request is large. */
export async function post<Name extends PostVerb>(verb: Name, request: Request<Name>, signal?: AbortSignal): Promise<Answer<Name>> {
  const response = await send("POST", apiUrl(verb), request, signal);
  return response.json();
}

/** Sends a file as the body of a request. The other fields of the request are parameters of the address. */
export async function upload<Name extends FileVerb>(verb: Name, request: Request<Name>, file: Blob, signal?: AbortSignal): Promise<Answer<Name>> {
  const response = await send("POST", withParameters(verb, request), file, signal);
  return response.json();
}

/** Sends a request to an address of the service, with a body of JSON, or with a file. Every answer that is no success is thrown. */
export async function send(
  method: "GET" | "POST" | "DELETE",
  address: string,
  body?: object,
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

/** The address of a verb with the fields of a request as parameters; a list is a parameter that is repeated. */
function withParameters(verb: string, request: object = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(request)) {
    if (Array.isArray(value)) value.forEach((item) => parameters.append(name, String(item)));
    else if (value !== undefined && value !== null && value !== "") parameters.append(name, String(value));
  }
  const text = parameters.toString();
  return apiUrl(text ? `${verb}?${text}` : verb);
}

async function problem(response: Response): Promise<ApiError> {
  try {
    // Of the service; an answer of a proxy has less, or is no JSON at all.
    const body: Partial<Schema<"Problem">> = await response.json();
    return new ApiError(response.status, body.detail ?? body.title ?? response.statusText, body.where ?? undefined, body.remedy ?? undefined);
  } catch {
    return new ApiError(response.status, `the service answered ${response.status} ${response.statusText}`.trim());
  }
}
