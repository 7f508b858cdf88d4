// The verbs of the configuration.

import { type Answer, type Schema, get, post } from "../../api";

/** A mistake in a file of the configuration. */
export type ConfigProblem = Schema<"ConfigProblem">;
/** The configuration as this browser may see it. */
export type Configuration = Answer<"config">;
/** The result of a check. */
export type Checked = Answer<"config_check">;
/** What a save would do. */
export type Preview = Answer<"config_preview">;
/** The result of a save. */
export type Saved = Answer<"config_save">;
export type LabelChange = Preview["labels"][number];

export const read = (signal?: AbortSignal) => get("config", undefined, signal);
export const check = (text: string, signal: AbortSignal) => post("config_check", { text }, signal);
export const preview = (text: string, signal: AbortSignal) => post("config_preview", { text }, signal);
export const save = (text: string, tag: string) => post("config_save", { text, tag });
export const versions = (signal: AbortSignal) => get("config_versions", undefined, signal);
export const version = (id: string, signal: AbortSignal) => get("config_version", { id }, signal);
export const schema = (signal: AbortSignal) => get("schema", undefined, signal);
