import { useState } from "preact/hooks";
import { call } from "../../api";
import { Button } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import { type Edited, type Subject, linesOf } from "./types";

/** What cannot be saved from here: the lines, and why. */
export interface Unsaved {
  why: string;
  remedy?: string | undefined;
  path?: string | undefined;
  lines: string;
}

/** Where a setting of the label is in the configuration. */
export interface Place {
  /** The source, if the label has settings of its own there. */
  source: string | undefined;
  label_set: string;
  label: string;
}

/** Saves settings of a label, or shows the lines to paste. */
export function useSaving(subject: Subject | undefined, mayChange: boolean) {
  const [unsaved, setUnsaved] = useState<Unsaved>();
  const [isSaving, setSaving] = useState(false);
  const save = async (place: Place, settings: Record<string, unknown>): Promise<boolean> => {
    if (!subject) return false;
    const lines = linesOf(place, settings);
    if (!mayChange) {
      setUnsaved({ why: "You may look, and not change the configuration.", lines });
      return false;
    }
    setSaving(true);
    try {
      const change = { kind: "set_label", ...place, settings };
      const edited = await call<Edited>("POST", "config_edit", { changes: [change], save: true });
      if (edited.saved) toast(`Saved in ${fileName(edited.path)}. It is in force in a moment.`);
      else {
        const problem = edited.problems[0]?.message;
        setUnsaved({
          why: sentence(edited.why_not ?? problem ?? "The file was not saved"),
          remedy: edited.remedy,
          path: edited.path,
          lines: edited.lines.after || lines,
        });
      }
      return edited.saved;
    } catch (thrown) {
      const error = asApiError(thrown);
      setUnsaved({ why: sentence(error.problem), remedy: error.remedy, lines });
      return false;
    } finally {
      setSaving(false);
    }
  };
  return { save, isSaving, unsaved, close: () => setUnsaved(undefined) };
}

/** The lines to paste. */
export function LinesToPaste({ unsaved, onClose }: { unsaved: Unsaved; onClose: () => void }) {
  const { why, remedy, path, lines } = unsaved;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(lines);
      toast("Copied.");
    } catch {
      toast("This browser does not allow copying: select the lines.");
    }
  };
  return (
    <Dialog title="Lines to paste" onClose={onClose} actions={<Button kind="primary" onClick={() => void copy()}>Copy</Button>}>
      <p>{why} {remedy}</p>
      <p>Change these lines{path ? <> in <code>{path}</code></> : " in the configuration"}. The running service notices it.</p>
      <pre class="code" tabIndex={0}>{lines}</pre>
    </Dialog>
  );
}

function fileName(path: string): string {
  return path.split("/").at(-1) ?? path;
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
