// Makes a label of what was searched for: the lines for the configuration.

import { useState } from "preact/hooks";
import { Button } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { Field } from "../../parts/Field";
import { Picture } from "../../parts/Picture";
import { Select } from "../../parts/Select";
import { toast } from "../../parts/Toast";
import { link } from "../../router";
import { type Match, yamlOf } from "./find";

/** The threshold of a new label: Tune finds a better one when there are scores. */
const THRESHOLD = 0.6;
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
  const chosen = set === NEW_SET ? newSet.trim() : set;
  const isComplete = Boolean(text.trim() && name.trim() && chosen);
  const lines = isComplete ? yamlOf(chosen, name.trim(), [text.trim()], THRESHOLD) : "";
  const copy = () => {
    void navigator.clipboard.writeText(lines).then(
      () => toast("The lines are copied."),
      () => toast("The browser does not allow copying: select the lines."),
    );
  };
  const options = [...sets.map((value) => ({ value, text: value })), { value: NEW_SET, text: "a new label set" }];
  return (
    <Dialog
      title="Make a label of this"
      onClose={onClose}
      actions={
        <>
          <a class="button" href={link("configuration")}>Open the configuration</a>
          <Button kind="primary" disabled={!isComplete} onClick={copy}>Copy the lines</Button>
        </>
      }
    >
      {match?.picture && <Picture address={match.picture} alt={`${match.source} at ${new Date(match.time).toLocaleString()}`} />}
      <Field label="What it looks like, in words" value={text} onInput={setText} maxLength={300} hint="A label is found by words, not by a picture." />
      <Field label="Name of the label" value={name} onInput={setName} maxLength={100} />
      <Select label="Label set" value={set} options={options} onChange={setSet} />
      {set === NEW_SET && (
        <Field
          label="Name of the label set"
          value={newSet}
          onInput={setNewSet}
          maxLength={100}
          hint="A new set needs background prompts (what is seen otherwise), and sources that watch it."
        />
      )}
      {isComplete && (
        <>
          <p class="muted small">Add these lines to the configuration. Then Tune shows which threshold fits.</p>
          <pre class="code" tabIndex={0}>{lines}</pre>
        </>
      )}
    </Dialog>
  );
}
