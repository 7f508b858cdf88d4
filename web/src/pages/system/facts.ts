// The answers of `system`, `doctor` and `support_bundle`.

/** Something that needs a person. */
export interface Advice {
  about: string;
  what: string;
  remedy: string;
}

/** A receiver of alerts. */
export interface Sink {
  name: string;
  waiting: number;
  oldest_s: number | null;
  error: { cause: string; at: string; is_over: boolean } | null;
}

/** The facts about the running service. */
export interface Facts {
  version: string;
  since: string;
  up_s: number;
  ready: boolean;
  platform: { system: string; kernel: string; architecture: string; processors: number };
  model: {
    name: string;
    loaded: { files: string; graph: string; bytes: number; engine: string; device: string; reason: string } | null;
    scored: number;
    repeated: number;
    failed: number;
    figures: { batches: number; pictures: number; batch_ms: number; picture_ms: number; per_second: number } | null;
  };
  parts: { name: string; state: "waiting" | "working" | "stuck" }[];
  config_valid: boolean;
  delivery: {
    connected: boolean;
    published: number;
    refused: number;
    scores_dropped: number;
    sinks: Sink[];
    outbox: {
      on_disk: boolean;
      why: string | null;
      waiting: number;
      dropped: number;
      snapshots_dropped: number;
      state_files_failing: number;
    };
  } | null;
  history: {
    failing: string | null;
    bytes: number;
    max_bytes: number;
    keep_s: number;
    dropped: number;
    entries: {
      alerts: number;
      near_misses: number;
      marks: number;
      pictures: number;
      embeddings: number;
      oldest: string | null;
    } | null;
  } | null;
  disk: { folder: string; total: number; free: number; almost_full: boolean } | null;
  process: { memory: number | null; open_files: number | null; most_open_files: number | null };
  decoders: {
    total: number;
    used: number;
    waiting: number;
    sandbox: "unknown" | "on" | "off" | "impossible";
    why: string | null;
    processes: number;
    crashes: number;
  };
  sources: { online: number; offline: number; stalled: number };
  clock: { now: string; synchronised: boolean };
  watches: number | null;
  clients: number;
  problems: Advice[];
  log: { at: string; level: "error" | "warning"; text: string }[];
  bundle: { name: string; what: string }[];
}

/** One check of `doctor`. */
export interface Check {
  check: string;
  state: "ok" | "warning" | "problem";
  what: string;
  remedy: string | null;
}

/** The result of the checks. */
export interface Checked {
  at: string;
  checks: Check[];
}

/** A support bundle; its content is base64. */
export interface SupportBundle {
  name: string;
  files: { name: string; what: string; bytes: number }[];
  content: string;
}
