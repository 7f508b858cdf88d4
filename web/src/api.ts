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

/**
 * The time limits of a request with its answer, in milliseconds. The service has 50 s for an answer, and before that a client has 50 s to
 * send a body. The service may take longer for `mark`, while something is forgotten: a verdict that is sent again is the same verdict.
 */
const ANSWERED_MS = 60_000;
const SENT_AND_ANSWERED_MS = 110_000;

/** Asks a verb that changes nothing. */
export function get<Name extends GetVerb>(verb: Name, request?: Request<Name>, signal?: AbortSignal): Promise<Answer<Name>> {
  return ask("GET", withParameters(verb, request), undefined, signal, json);
}

/** Asks a verb that changes something, or whose request is large. */
export function post<Name extends PostVerb>(verb: Name, request: Request<Name>, signal?: AbortSignal): Promise<Answer<Name>> {
  return ask("POST", apiUrl(verb), request, signal, json);
}

/** Sends a file as the body of a request. The other fields of the request are parameters of the address. */
export function upload<Name extends FileVerb>(verb: Name, request: Request<Name>, file: Blob, signal?: AbortSignal): Promise<Answer<Name>> {
  return ask("POST", withParameters(verb, request), file, signal, json);
}

/** Fetches a picture, by the address in an answer. The header fields say more about it. */
export function fetchPicture(address: string, signal?: AbortSignal): Promise<{ content: Blob; headers: Headers }> {
  return ask("GET", pictureUrl(address), undefined, signal, async (response) => ({ content: await response.blob(), headers: response.headers }));
}

/** Sends a request to an address of the service that is no verb. */
export function send(method: "POST" | "DELETE", address: string, body?: object): Promise<void> {
  return ask(method, address, body, undefined, async () => undefined);
}

const json = (response: Response) => response.json();

/**
 * Every request of the console: a body is JSON, or a file, and `read` reads the answer. Every answer that is no success is thrown, and so
 * is a missing answer after the time limit: a connection that was lost may never say so.
 */
async function ask<Result>(
  method: "GET" | "POST" | "DELETE",
  address: string,
  body: object | undefined,
  signal: AbortSignal | undefined,
  read: (response: Response) => Promise<Result>,
): Promise<Result> {
  const headers: Record<string, string> = { Accept: "application/json, image/*" };
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-cache" };
  if (body) {
    headers["Content-Type"] = body instanceof Blob ? body.type || "application/octet-stream" : "application/json";
    init.body = body instanceof Blob ? body : JSON.stringify(body);
  }
  const limit = limited(body ? SENT_AND_ANSWERED_MS : ANSWERED_MS, signal);
  try {
    const response = await fetch(address, { ...init, signal: limit.signal });
    if (response.ok) return await read(response);
    if (response.status === 401) signedOut.forEach((listener) => listener());
    throw await problem(response);
  } catch (error) {
    // An error of the service, an answer that is no JSON, or a request that its page has given up.
    if (error instanceof ApiError || error instanceof SyntaxError || signal?.aborted) throw error;
    throw unanswered(limit.isOver() ? ` within ${limit.seconds} s` : "");
  } finally {
    limit.end();
  }
}

function unanswered(within: string): ApiError {
  return new ApiError(0, `the service does not answer${within}`, undefined, "Check that it runs and that this device reaches it.");
}

/** A signal that ends a request after this time, or with `signal`. `AbortSignal.any` is newer than some browsers that the console supports. */
function limited(milliseconds: number, signal: AbortSignal | undefined) {
  const control = new AbortController();
  let isOver = false;
  const giveUp = () => control.abort(signal?.reason);
  const timer = setTimeout(() => {
    isOver = true;
    control.abort();
  }, milliseconds);
  if (signal?.aborted) giveUp();
  signal?.addEventListener("abort", giveUp);
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  };
  return { signal: control.signal, seconds: milliseconds / 1000, isOver: () => isOver, end };
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
