import { useState } from "preact/hooks";
import { type Answer, post } from "../../api";
import { sentence } from "../../format";
import { Button } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import { type Keys, linesOf } from "./types";

/** What cannot be saved from here: the lines, and why. */
export interface Unsaved {
  why: string;
  remedy?: string | null | undefined;
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

/** What is saved of a label. */
export interface Chosen {
  /** The keys and values. They differ if the configuration names a clear level. */
  keys: (isClearNamed: boolean) => Keys;
  /** Keys that are refused if it names one; `undefined`: it makes no difference. */
  probe?: Keys | undefined;
}

/** Saves settings of a label, or shows the lines to paste. */
export function useSaving(mayChange: boolean) {
  const [unsaved, setUnsaved] = useState<Unsaved>();
  const [isSaving, setSaving] = useState(false);
  const save = async (place: Place, { keys, probe }: Chosen): Promise<boolean> => {
    // With the clear level, the lines have the effect that the page shows, whatever the file names.
    let lines = linesOf(place, keys(true));
    if (!mayChange) {
      setUnsaved({ why: "You may look, and not change the configuration.", lines });
      return false;
    }
    setSaving(true);
    try {
      const isClearNamed = probe !== undefined && (await edit(place, probe, false)).problems.length > 0;
      const settings = keys(isClearNamed);
      lines = linesOf(place, settings);
      const edited = await edit(place, settings, true);
      if (edited.saved) toast(`Saved in ${fileName(edited.path)}. It is in force in a moment.`);
      else {
        const [problem] = edited.problems;
        setUnsaved({
          why: sentence(edited.why_not ?? problem?.message ?? "The file was not saved"),
          remedy: edited.why_not ? edited.remedy : problem?.remedy,
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

function edit(place: Place, settings: Keys, save: boolean): Promise<Answer<"config_edit">> {
  return post("config_edit", { changes: [{ kind: "set_label", ...place, settings }], save });
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
      <p>{why} {remedy && sentence(remedy)}</p>
      <p>Change these lines{path ? <> in <code>{path}</code></> : " in the configuration"}. The running service notices it.</p>
      <pre class="code" tabIndex={0}>{lines}</pre>
    </Dialog>
  );
}

function fileName(path: string): string {
  return path.split("/").at(-1) ?? path;
}
