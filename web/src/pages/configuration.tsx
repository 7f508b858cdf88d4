// The configuration in an editor: the service's own check as marks, what a save would do, and earlier versions. It works with a broken
// file, too. Where this browser may not edit the file, the page shows it and says why.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { counted } from "../format";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Dialog } from "../parts/Dialog";
import { Heading } from "../parts/Heading";
import { Keys } from "../parts/Keys";
import { Problem } from "../parts/Problem";
import { toast } from "../parts/Toast";
import { asApiError, useRequest } from "../request";
import { useQuery } from "../router";
import { type Checked, type ConfigProblem, type Configuration, type Preview, type Saved, check, preview, read, save, schema } from "./configuration/api";
import { Comparison } from "./configuration/Comparison";
import { Editor, type EditorHandle } from "./configuration/Editor";
import { Effects, summary } from "./configuration/Effects";
import type { Schema } from "./configuration/schema";
import { Versions } from "./configuration/Versions";

/** A text is checked when it has not changed for this time. */
const QUIET_MS = 400;
/** A save that the service has not read yet is asked about again after this time. */
const ASK_AGAIN_MS = 2_000;

/** A text that is not saved yet; it stays while other pages are open. */
let draft: { text: string; tag: string } | undefined;

export default function Page() {
  const { answer, error, reload } = useRequest(read, []);
  const known = useRequest(schema, []);
  return (
    <>
      {!answer && <Heading title="Configuration" />}
      {error && <Problem error={error} onRetry={reload} />}
      {answer && <Edited key={answer.path} file={answer} schema={known.answer as Schema | undefined} />}
    </>
  );
}

/** The page, with the file as it was read. */
function Edited({ file, schema }: { file: Configuration; schema?: Schema }) {
  const [saved, setSaved] = useState(file);
  const [text, setText] = useState(draft?.text ?? file.text);
  const [base, setBase] = useState(draft?.tag ?? file.tag);
  const [isSaving, setSaving] = useState(false);
  const [failure, setFailure] = useState<ApiError>();
  const [conflict, setConflict] = useState<Configuration>();
  const [isListing, setListing] = useState(false);
  /** The tag of a text that was saved, and that the service has not read yet. */
  const [awaited, setAwaited] = useState<string>();
  const editor = useRef<EditorHandle>(undefined);
  const [query] = useQuery();
  const isChanged = text !== saved.text;
  const { checked, effects, problem, isChecking } = useCheck(text, isChanged, saved);
  const isElsewhere = saved.tag !== base;

  useEffect(() => {
    draft = isChanged ? { text, tag: base } : undefined;
  }, [isChanged, text, base]);
  useWarning(isChanged);
  useEffect(() => {
    if (query.line) editor.current?.goTo(Number(query.line) || 1);
  }, [query.line]);

  /** Takes over the file as it is now: its text, unless there are changes of one's own. */
  const takeOver = useCallback((now: Configuration, mine?: string) => {
    setSaved(now);
    if (mine === undefined) {
      setText(now.text);
      setBase(now.tag);
      editor.current?.replace(now.text);
    }
  }, []);
  useRead(awaited, (now) => {
    setAwaited(undefined);
    takeOver(now, text);
    toast(said({ checked: true, ...now.state }));
  });
  useReturn(async () => {
    const now = await read();
    if (now.tag === saved.tag && now.state.current === saved.state.current && now.editable === saved.editable) return;
    takeOver(now, isChanged ? text : undefined);
  });

  const saveOver = async (tag: string) => {
    setSaving(true);
    setFailure(undefined);
    try {
      const answer = await save(text, tag);
      const now = await read();
      setSaved({ ...now, text });
      setBase(answer.tag);
      setConflict(undefined);
      toast(said(answer));
      setAwaited(answer.checked ? undefined : answer.tag);
    } catch (thrown) {
      const error = asApiError(thrown);
      if (error.status === 409 && error.where === "tag") setConflict(await read());
      else setFailure(error);
    } finally {
      setSaving(false);
    }
  };
  const isRefused = !isChecking && (!checked.valid || (effects?.refused.length ?? 0) > 0);
  const canSave = saved.editable && isChanged && !isSaving && !isRefused;
  const onSave = () => {
    if (!saved.editable) toast("This file cannot be saved here");
    else if (!isChanged) toast("Everything is saved");
    else if (!isSaving) void saveOver(base);
  };
  useSaveKey(onSave);

  const state = stateOf(saved, isChanged, isChecking, checked);
  return (
    <>
      <Heading
        title="Configuration"
        aside={
          <span class="row">
            <span role="status" class={checked.valid ? "" : "problem-text"}>{state}</span>
            <Button onClick={() => editor.current?.openSearch()}>Find</Button>
            <Button expanded={isListing} onClick={() => setListing(!isListing)}>Earlier versions</Button>
            {saved.editable && <Button kind="primary" disabled={!canSave} busy={isSaving} onClick={onSave}>Save</Button>}
          </span>
        }
      />
      <div class="stack">
        {!saved.editable && <ReadOnly file={saved} />}
        {failure && <Problem error={failure} />}
        {problem && <Problem error={problem} />}
        {isElsewhere && !conflict && (
          <Problem>
            <p>The file was changed elsewhere since you began. <button type="button" class="link" onClick={() => setConflict(saved)}>Compare</button></p>
          </Problem>
        )}
        <div class="beside">
          <div class="stack">
            <Card flush label={saved.path}>
              <p class="editor-path muted">{saved.path}</p>
              <Editor
                text={text}
                label={`Text of ${saved.path}`}
                readOnly={!saved.editable}
                schema={schema}
                problems={checked.problems}
                onChange={setText}
                onSave={onSave}
                onReady={(ready) => (editor.current = ready)}
              />
            </Card>
            <Problems problems={checked.problems} onOpen={(line, column) => editor.current?.goTo(line, column)} />
            <Keys keys={[["Ctrl+S", "save"], ["Ctrl+F", "find"], ["Ctrl+Space", "complete"], ["F8", "next mistake"], ["Ctrl+] Ctrl+[", "indent"], ["Escape", "close what is open"], ["Tab", "leave the editor"]]} />
            {saved.included.map(({ path, text: included }) => (
              <details key={path} class="included">
                <summary>{path} <span class="muted">is read as well; it is changed on the machine</span></summary>
                <pre class="code" tabIndex={0}>{included}</pre>
              </details>
            ))}
          </div>
          <div class="stack">
            <Card title={effects ? summary(effects) : "What a save does"}>
              {!isChanged && <p class="muted">There is nothing to save. The comparison and the effects of your changes appear here.</p>}
              {isChanged && !checked.valid && <p class="muted">Correct the {counted(checked.problems.length, "mistake")} first: only a valid configuration is saved.</p>}
              {isChanged && checked.valid && effects && <Effects preview={effects} />}
            </Card>
            {isChanged && (
              <Card title="Your changes" actions={saved.editable && <Button kind="quiet" onClick={() => editor.current?.replace(saved.text)}>Discard</Button>}>
                <Comparison before={saved.text} after={text} label="Your changes" />
              </Card>
            )}
            {saved.state.after_restart.length > 0 && (
              <p class="problem-text small">Waits for a restart of the service: {saved.state.after_restart.join(", ")}.</p>
            )}
          </div>
        </div>
      </div>
      {isListing && (
        <Versions
          text={text}
          mayReturn={saved.editable}
          onClose={() => setListing(false)}
          onReturn={(earlier) => {
            editor.current?.replace(earlier);
            setListing(false);
            toast("The earlier text is in the editor. Save it to return to it.");
          }}
        />
      )}
      {conflict && (
        <Conflict
          file={conflict}
          text={text}
          isSaving={isSaving}
          onClose={() => {
            takeOver(conflict, text);
            setConflict(undefined);
          }}
          onTheirs={() => {
            takeOver(conflict);
            setConflict(undefined);
          }}
          onMine={() => void saveOver(conflict.tag)}
        />
      )}
    </>
  );
}

/** Why the file cannot be edited here. */
function ReadOnly({ file }: { file: Configuration }) {
  return (
    <Problem>
      <p>
        The file is shown and cannot be changed here: {file.why_not ?? "it is read-only"}.{file.remedy && ` ${file.remedy}`}
        {file.masked && " Passwords are shown as ***."}
      </p>
    </Problem>
  );
}

/** The mistakes as a table, with links to their lines. */
function Problems({ problems, onOpen }: { problems: readonly ConfigProblem[]; onOpen: (line: number, column: number) => void }) {
  if (problems.length === 0) return null;
  return (
    <Card title={counted(problems.length, "mistake")}>
      <div class="scroll-x" tabIndex={0} role="group" aria-label="Mistakes">
        <table class="table mistakes">
          <thead><tr><th scope="col">Where</th><th scope="col">What is wrong</th><th scope="col">What to do</th></tr></thead>
          <tbody>
            {problems.map((problem, index) => (
              <tr key={index}>
                <td>
                  {problem.is_main && problem.line != null ? (
                    <button type="button" class="link" onClick={() => onOpen(problem.line!, problem.column ?? 1)}>Line {problem.line}</button>
                  ) : (
                    <span>{problem.is_main ? "the file" : `${problem.file}${problem.line == null ? "" : `, line ${problem.line}`}`}</span>
                  )}
                </td>
                <td class="problem-text">{problem.message}</td>
                <td class="mistakes-remedy">{problem.remedy}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

/** The file was changed elsewhere meanwhile: whose text stays? */
function Conflict({ file, text, isSaving, onTheirs, onMine, onClose }: {
  file: Configuration;
  text: string;
  isSaving: boolean;
  onTheirs: () => void;
  onMine: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog
      title="The file was changed elsewhere"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onTheirs}>Take the file, drop my changes</Button>
          <Button kind="danger" busy={isSaving} disabled={!file.editable} onClick={onMine}>Save my text over it</Button>
        </>
      }
    >
      <p>From the file as it is now to your text:</p>
      <Comparison before={file.text} after={text} label="From the file to your text" />
    </Dialog>
  );
}

interface CheckState {
  checked: Checked;
  effects?: Preview;
  /** Why there is no check. */
  problem?: ApiError;
  isChecking: boolean;
}

/** The check of a text, and what a save of it would do. A text that is saved has the result of the service. */
function useCheck(text: string, isChanged: boolean, saved: Configuration): CheckState {
  const [found, setFound] = useState<{ text: string; checked: Checked; effects?: Preview; problem?: ApiError }>();
  useEffect(() => {
    if (!isChanged || !saved.editable) return undefined;
    const control = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const checked = await check(text, control.signal);
        setFound({ text, checked });
        if (!checked.valid) return;
        const effects = await preview(text, control.signal);
        setFound({ text, checked: effects, effects });
      } catch (thrown) {
        if (control.signal.aborted) return;
        setFound((before) => ({ text, checked: before?.checked ?? stateChecked(saved), problem: asApiError(thrown) }));
      }
    }, QUIET_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [text, isChanged, saved]);
  if (!isChanged || !saved.editable) return { checked: stateChecked(saved), isChecking: false };
  const isChecking = found?.text !== text;
  // The marks of the text before stay until the next check.
  return { checked: found?.checked ?? stateChecked(saved), effects: isChecking ? undefined : found?.effects, problem: found?.problem, isChecking };
}

function stateChecked({ state }: Configuration): Checked {
  return { valid: state.valid, problems: state.problems };
}

function stateOf(saved: Configuration, isChanged: boolean, isChecking: boolean, checked: Checked): string {
  if (isChecking) return "checking";
  if (!checked.valid) return `${counted(checked.problems.length, "mistake")}${isChanged ? "" : "; the configuration from before is in force"}`;
  if (isChanged) return "valid, not saved";
  return saved.state.current ? "valid, in force" : "valid";
}

function said({ checked, problems, after_restart }: Pick<Saved, "checked" | "problems" | "after_restart">): string {
  if (problems.length > 0) return `Saved, and the service found ${counted(problems.length, "mistake")}`;
  if (!checked) return "Saved. The service reads it soon.";
  return after_restart.length === 0 ? "Saved and in force" : `Saved. After a restart of the service: ${after_restart.join(", ")}`;
}

/** Calls `then` with the file when the service has read the text with this tag. It asks again until then, or until the file is another one. */
function useRead(tag: string | undefined, then: (now: Configuration) => void) {
  const latest = useRef(then);
  latest.current = then;
  useEffect(() => {
    if (tag === undefined) return undefined;
    const control = new AbortController();
    let timer: number | undefined;
    const ask = async () => {
      const now = await read(control.signal).catch(() => undefined);
      if (control.signal.aborted || (now && now.tag !== tag)) return;
      if (now?.state.current) latest.current(now);
      else timer = window.setTimeout(ask, ASK_AGAIN_MS);
    };
    void ask();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [tag]);
}

/** The browser asks before it leaves the console with unsaved text. */
function useWarning(isChanged: boolean) {
  useEffect(() => {
    if (!isChanged) return undefined;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [isChanged]);
}

/** Ctrl+S saves wherever the focus is. The editor handles its own. */
function useSaveKey(onSave: () => void) {
  const latest = useRef(onSave);
  latest.current = onSave;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
      event.preventDefault();
      latest.current();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}

/** Calls a function when the person comes back to this window: the file may have changed meanwhile. */
function useReturn(onReturn: () => Promise<void>) {
  const latest = useRef(onReturn);
  latest.current = onReturn;
  useEffect(() => {
    // A service that does not answer is reported by the header.
    const returned = () => void latest.current().catch(() => undefined);
    window.addEventListener("focus", returned);
    return () => window.removeEventListener("focus", returned);
  }, []);
}
