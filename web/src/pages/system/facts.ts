// The answers of `system`, `doctor` and `support_bundle`, as the service writes them.

import { type Schema, get, post } from "../../api";

/** The document allows to leave out what is `null`. These answers never do. */
type Written<T> = T extends (infer Item)[]
  ? Written<Item>[]
  : T extends object
    ? { [Name in keyof T]-?: Written<Exclude<T[Name], undefined>> }
    : T;

/** The facts about the running service. */
export type Facts = Written<Schema<"Facts">>;
/** Something that needs a person. */
export type Advice = Facts["problems"][number];
/** A receiver of alerts. */
export type Sink = NonNullable<Facts["delivery"]>["sinks"][number];
/** One check of `doctor`. */
export type Check = Written<Schema<"Check">>;

/** The state of the service now. */
export function facts(signal?: AbortSignal): Promise<Facts> {
  return get("system", undefined, signal) as Promise<Facts>;
}

/** Runs the checks. */
export async function check(): Promise<{ at: string; checks: Check[] }> {
  const { at, checks } = await post("doctor", {});
  return { at, checks: checks as Check[] };
}

/** Makes a support bundle; its content is base64. */
export function bundle(): Promise<{ name: string; content: string }> {
  return post("support_bundle", {});
}
