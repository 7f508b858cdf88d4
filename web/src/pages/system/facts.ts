// The answers of `system`, `doctor` and `support_bundle`.

import { type Answer, type Schema, get, post } from "../../api";

/** The facts about the running service. */
export type Facts = Schema<"Facts">;
/** Something that needs a person. */
export type Advice = Facts["problems"][number];
/** A receiver of alerts. */
export type Sink = NonNullable<Facts["delivery"]>["sinks"][number];
/** One check of `doctor`. */
export type Check = Schema<"Check">;

/** The state of the service now. */
export function facts(signal?: AbortSignal): Promise<Facts> {
  return get("system", undefined, signal);
}

/** Runs the checks. */
export function check(): Promise<Answer<"doctor">> {
  return post("doctor", {});
}

/** Makes a support bundle; its content is base64. */
export function bundle(): Promise<Answer<"support_bundle">> {
  return post("support_bundle", {});
}
