// The verbs of the configuration.

import { call } from "../../api";

/** A mistake in a file of the configuration. */
export interface ConfigProblem {
  file: string;
  is_main: boolean;
  line: number | null;
  column: number | null;
  length: number | null;
  message: string;
  remedy: string;
  shown: string;
}

/** The configuration as this browser may see it. */
export interface Configuration {
  path: string;
  text: string;
  tag: string;
  masked: boolean;
  editable: boolean;
  why_not?: string;
  remedy?: string;
  included: { path: string; text: string }[];
  state: { valid: boolean; current: boolean; problems: ConfigProblem[]; after_restart: string[] };
}

export interface Checked {
  valid: boolean;
  problems: ConfigProblem[];
}

export interface SettingChange {
  key: string;
  before: unknown;
  after: unknown;
}

export interface LabelChange {
  label_set: string;
  label: string | null;
  source: string | null;
  effect: "added" | "removed" | "changed";
  settings: SettingChange[];
}

/** What a save would do. */
export interface Preview extends Checked {
  changes: boolean;
  sources: { source: string; effect: "starts" | "stops" | "restarts" | "changes" }[];
  labels: LabelChange[];
  keys: { key: string; after_restart: boolean }[];
  after_restart: string[];
  refused: string[];
}

export interface Saved {
  tag: string;
  checked: boolean;
  problems: ConfigProblem[];
  after_restart: string[];
}

export interface Version {
  id: string;
  replaced_at: string;
  size: number;
}

export const read = (signal?: AbortSignal) => call<Configuration>("GET", "config", {}, signal);
export const check = (text: string, signal: AbortSignal) => call<Checked>("POST", "config_check", { text }, signal);
export const preview = (text: string, signal: AbortSignal) => call<Preview>("POST", "config_preview", { text }, signal);
export const save = (text: string, tag: string) => call<Saved>("POST", "config_save", { text, tag });
export const versions = (signal: AbortSignal) => call<{ versions: Version[] }>("GET", "config_versions", {}, signal);
export const version = (id: string, signal: AbortSignal) => call<{ text: string }>("GET", "config_version", { id }, signal);
export const schema = (signal: AbortSignal) => call<Record<string, unknown>>("GET", "schema", {}, signal);
