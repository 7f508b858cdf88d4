// Makes a label of what was searched for: saved in the configuration, or as lines to paste where the service may not write it.

import { useState } from "preact/hooks";
import { type ApiError, call } from "../../api";
import { Button } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { Field } from "../../parts/Field";
import { Picture } from "../../parts/Picture";
import { Problem } from "../../parts/Problem";
import { Select } from "../../parts/Select";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import { go, link } from "../../router";
import { type Draft, type Match, changesOf, yamlOf } from "./find";

/** The value of a label set that does not exist yet. */
const NEW_SET = "";

interface Edited {
  path: string;
  lines: { first: number; after: string };
  problems: { message: string; remedy: string }[];
  saved: boolean;
  why_not?: string;
  remedy?: string;
}

/** `sets`: the label sets that the source of the result watches, or all. */
export function MakeLabel({ match, words, sets, onClose }: {
  match: Match | undefined;
  words: string;
  sets: string[];
  onClose: () => void;
}) {
  const [text, setText] = useState(words);
  const [name, setName] = useState(words.replace(/^(a|an|the) /i, ""));
  const [set, setSet] = useState(sets[0] ?? NEW_SET);
  const [newSet, setNewSet] = useState("found");
  const [otherwise, setOtherwise] = useState("an empty scene");
  const [isSaving, setSaving] = useState(false);
  const [edited, setEdited] = useState<Edited>();
  const [error, setError] = useState<ApiError>();

  const isNew = set === NEW_SET;
  const draft: Draft = {
    set: isNew ? newSet.trim() : set,
    label: name.trim(),
    words: text.trim(),
    background: isNew ? otherwise.trim() : undefined,
    source: match?.source,
  };
  const isComplete = Boolean(draft.words && draft.label && draft.set && (!isNew || draft.background));
  const lines = edited && !edited.saved ? edited.lines.after : isComplete ? yamlOf(draft) : "";
  const change = (apply: (value: string) => void) => (value: string) => {
    apply(value);
    setEdited(undefined);
    setError(undefined);
  };
  const save = async () => {
    setSaving(true);
    setError(undefined);
    try {
      const answer = await call<Edited>("POST", "config_edit", { changes: changesOf(draft), save: true });
      setEdited(answer);
      if (!answer.saved) return;
      toast(`${draft.label} is watched for.`, { text: "Tune it", run: () => go("tune", { source: draft.source, set: draft.set, label: draft.label }) });
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
    } finally {
      setSaving(false);
    }
  };
  const copy = () => {
    void navigator.clipboard.writeText(lines).then(
      () => toast("The lines are copied."),
      () => toast("The browser does not allow copying: select the lines."),
    );
  };
  return (
    <Dialog
      title="Make a label of this"
      onClose={onClose}
      actions={
        <>
          <Button disabled={!lines} onClick={copy}>Copy the lines</Button>
          <Button kind="primary" disabled={!isComplete} busy={isSaving} onClick={() => void save()}>Save</Button>
        </>
      }
    >
      {match?.picture && <Picture address={match.picture} alt={`${match.source} at ${new Date(match.time).toLocaleString()}`} />}
      <Field label="What it looks like, in words" value={text} onInput={change(setText)} maxLength={300} hint="A label is found by words, not by a picture." />
      <Field label="Name of the label" value={name} onInput={change(setName)} maxLength={100} />
      <Select
        label="Label set"
        value={set}
        options={[...sets.map((value) => ({ value, text: value })), { value: NEW_SET, text: "a new label set" }]}
        onChange={change(setSet)}
      />
      {isNew && (
        <>
          <Field label="Name of the label set" value={newSet} onInput={change(setNewSet)} maxLength={100} />
          <Field label="What is seen otherwise" value={otherwise} onInput={change(setOtherwise)} maxLength={300} hint="The background: it never alerts." />
        </>
      )}
      {error && <Problem error={error} />}
      {edited && !edited.saved && (
        <Problem>
          <p>{edited.why_not ?? edited.problems[0]?.message}. {edited.remedy ?? edited.problems[0]?.remedy}</p>
          <p>Add these lines to {edited.path}, at line {edited.lines.first}. <a href={link("configuration")}>Open the configuration</a></p>
        </Problem>
      )}
      {lines && (
        <>
          <p class="muted small">These lines are added. Tune shows later which threshold fits.</p>
          <pre class="code" tabIndex={0}>{lines}</pre>
        </>
      )}
    </Dialog>
  );
}
