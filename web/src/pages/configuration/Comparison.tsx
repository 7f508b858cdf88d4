import { useMemo } from "preact/hooks";
import { diff } from "./diff";

const SIGNS = { same: " ", removed: "-", added: "+", gap: "" } as const;
const WORDS = { same: "", removed: "removed: ", added: "added: ", gap: "" } as const;

/** The lines in which two texts differ. */
export function Comparison({ before, after, label }: { before: string; after: string; label: string }) {
  const lines = useMemo(() => diff(before, after), [before, after]);
  if (lines.length === 0) return <p class="muted">There is no difference.</p>;
  return (
    <div class="comparison" role="group" aria-label={label} tabIndex={0}>
      {lines.map(({ kind, text, line }, index) =>
        kind === "gap" ? (
          <p key={index} class="comparison-gap">…</p>
        ) : (
          <p key={index} class={`comparison-line comparison-${kind}`}>
            <span class="comparison-number">{line ?? ""}</span>
            <span class="comparison-sign" aria-hidden="true">{SIGNS[kind]}</span>
            <code><span class="hidden">{WORDS[kind]}</span>{text || " "}</code>
          </p>
        ),
      )}
    </div>
  );
}
