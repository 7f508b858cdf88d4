// Makes a label of what was searched for: saved in the configuration, or as lines to paste where the service may not write it.

import { useEffect, useRef, useState } from "preact/hooks";
import { type Answer, type ApiError, post } from "../../api";
import { sentence } from "../../format";
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
  const [edited, setEdited] = useState<Answer<"config_edit">>();
  const [error, setError] = useState<ApiError>();
  const isGone = useRef(false);
  useEffect(() => () => void (isGone.current = true), []);

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
      const answer = await post("config_edit", { changes: changesOf(draft), save: true });
      setEdited(answer);
      if (answer.saved) {
        toast(`${draft.label} is watched for.`, { text: "Tune it", run: () => go("tune", { source: draft.source, set: draft.set, label: draft.label }) });
        // Another dialog may be open meanwhile.
        if (!isGone.current) onClose();
      } else if (isGone.current) {
        toast(`${draft.label} was not saved. ${whyNot(answer).map(sentence).join(" ")}`);
      }
    } catch (thrown) {
      const error = asApiError(thrown);
      setError(error);
      if (isGone.current) toast(`${draft.label} was not saved. ${sentence(error.problem)} ${error.remedy ?? ""}`);
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
          {whyNot(edited).map((text) => <p key={text}>{sentence(text)}</p>)}
          <p>Add these lines to {edited.path}, at line {edited.lines.first}. <a href={link("configuration")}>Open the configuration</a></p>
        </Problem>
      )}
      {lines && (
        <>
          <p class="muted small">
            These lines are added. {isNew && draft.source !== undefined && <>The source {draft.source} watches the new label set. </>}
            Tune shows later which threshold fits.
          </p>
          <pre class="code" tabIndex={0}>{lines}</pre>
        </>
      )}
    </Dialog>
  );
}

/** Why the label was not saved, and what to do. */
function whyNot({ why_not, remedy, problems }: Answer<"config_edit">): string[] {
  const [first] = problems;
  const texts = why_not != null ? [why_not, remedy] : [first?.message ?? "the file was not saved", first?.remedy];
  return texts.filter((text) => text != null).filter((text) => text !== "");
}
