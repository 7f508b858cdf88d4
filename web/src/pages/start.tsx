// The first steps: a camera is tried, words are scored on its picture, and both are saved. Nothing is saved before the last step.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { useService } from "../events";
import { sentence } from "../format";
import { Button } from "../parts/Button";
import { Field } from "../parts/Field";
import { Heading } from "../parts/Heading";
import { Problem } from "../parts/Problem";
import { toast } from "../parts/Toast";
import { asApiError, useRequest } from "../request";
import { go, link } from "../router";
import { useMayChange } from "../session";
import { Step } from "./start/Step";
import { type Typed, Words, isThreshold } from "./start/Words";
import { BACKGROUND, type Camera, type Edited, THRESHOLD, type Tried, blobUrl, changes, freeName, look, save, takenNames, words } from "./start/camera";

export default function Page() {
  const mayChange = useMayChange();
  const [camera, setCamera] = useState<Camera>({ address: "", username: "", password: "" });
  const [tried, setTried] = useState<{ camera: Camera; answer: Tried }>();
  const [typed, setTyped] = useState<Typed>({ labels: "", background: BACKGROUND, threshold: String(THRESHOLD) });
  // Another camera has another picture.
  const isTried = tried !== undefined && JSON.stringify(tried.camera) === JSON.stringify(camera);
  const picture = isTried ? tried.answer.picture : undefined;
  const labels = words(typed.labels);
  const isReady = picture !== undefined && labels.length > 0 && isThreshold(Number(typed.threshold));
  return (
    <>
      <Heading title="First steps" aside={<a href={link("configuration")}>Write the configuration instead</a>} />
      {!mayChange && <Problem><p>You may look, and change nothing. To try a camera and to save it, sign in with the right to change something.</p></Problem>}
      <ol class="start">
        <Broker />
        <Step number={2} title="A camera" done={picture !== undefined} open>
          <CameraForm camera={camera} onInput={setCamera} onTried={(of, answer) => setTried({ camera: of, answer })} />
          {isTried && <Shown answer={tried.answer} />}
        </Step>
        <Step number={3} title="What to watch for" done={isReady} open={picture !== undefined}>
          {picture && <Words jpeg={picture.jpeg} typed={typed} onInput={setTyped} />}
        </Step>
        <Step number={4} title="Save" done={false} open={isReady}>
          {tried && <Save camera={camera} tried={tried.answer} typed={typed} />}
        </Step>
      </ol>
    </>
  );
}

/** Whether alerts can be delivered. */
function Broker() {
  const service = useService();
  const isConnected = service?.broker_connected === true;
  return (
    <Step number={1} title="The MQTT broker" done={isConnected} open>
      {service && !isConnected ? (
        <p class="problem-text">
          The broker is not connected. Alerts are kept until it is. <a href={link("system")}>System</a> says why; its address is <code>mqtt</code> in the <a href={link("configuration")}>configuration</a>.
        </p>
      ) : (
        <p class="muted">{isConnected ? "It is connected: alerts are published to it." : "Waiting for the service."}</p>
      )}
    </Step>
  );
}

function CameraForm({ camera, onInput, onTried }: {
  camera: Camera;
  onInput: (camera: Camera) => void;
  onTried: (camera: Camera, answer: Tried) => void;
}) {
  const [isTrying, setTrying] = useState(false);
  const [error, setError] = useState<ApiError>();
  const control = useRef<AbortController>(undefined);
  useEffect(() => () => control.current?.abort(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (camera.address.trim() === "") return;
    control.current?.abort();
    const { signal } = (control.current = new AbortController());
    setTrying(true);
    setError(undefined);
    try {
      onTried(camera, await look(camera, signal));
    } catch (thrown) {
      if (signal.aborted) return;
      setError(asApiError(thrown));
    }
    setTrying(false);
  };
  const at = (place: string) => (error?.where === place ? `${sentence(error.problem)} ${error.remedy ? sentence(error.remedy) : ""}` : undefined);
  const isOfField = error?.where !== undefined && ["address", "username", "password"].includes(error.where);
  return (
    <form class="stack" onSubmit={(event) => void submit(event)}>
      <Field
        label="Its address"
        value={camera.address}
        onInput={(address) => onInput({ ...camera, address })}
        placeholder="rtsp://10.0.0.21/stream2"
        hint="The RTSP address of a camera, or the address of a picture (http://10.0.0.9/snapshot.jpg). A small stream is enough."
        error={at("address")}
        autocomplete="off"
        autofocus
      />
      <div class="start-login">
        <Field label="User, if it needs one" value={camera.username} onInput={(username) => onInput({ ...camera, username })} error={at("username")} autocomplete="off" />
        <Field label="Password" type="password" value={camera.password} onInput={(password) => onInput({ ...camera, password })} error={at("password")} autocomplete="off" />
      </div>
      {error && !isOfField && <Problem error={error} />}
      <div class="row">
        <Button type="submit" kind="primary" busy={isTrying} disabled={camera.address.trim() === ""}>See its picture</Button>
        {isTrying && <span class="muted" role="status">Opening the camera. This may take half a minute.</span>}
      </div>
    </form>
  );
}

/** The picture of the camera, or what is wrong. */
function Shown({ answer: { picture, problem } }: { answer: Tried }) {
  const [src, setSrc] = useState<string>();
  useEffect(() => {
    if (!picture) return setSrc(undefined);
    const url = blobUrl(picture.jpeg);
    setSrc(url);
    return () => URL.revokeObjectURL(url);
  }, [picture]);
  if (problem) return <Problem><p>{sentence(problem.cause)} {sentence(problem.remedy)}</p></Problem>;
  if (!picture || !src) return null;
  return (
    <figure class="start-picture">
      <img src={src} alt="The picture of the camera" />
      <figcaption class="small muted">{picture.width}×{picture.height}</figcaption>
    </figure>
  );
}

function Save({ camera, tried, typed }: { camera: Camera; tried: Tried; typed: Typed }) {
  const taken = useRequest(takenNames, []);
  const [name, setName] = useState<string>();
  const [result, setResult] = useState<{ of: string; edited?: Edited; error?: ApiError }>();
  const [isSaving, setSaving] = useState(false);
  const isGone = useRef(false);
  useEffect(() => () => void (isGone.current = true), []);
  const shown = name ?? freeName(taken.answer ?? []);
  const labels = words(typed.labels);
  const background = words(typed.background).filter((word) => !labels.includes(word));
  const list = changes(shown.trim(), tried.kind, camera, labels, background, Number(typed.threshold));
  // Lines to paste are only right for what was typed when they were made.
  const of = JSON.stringify(list);
  const { edited, error } = result?.of === of ? result : {};
  const submit = async (event: Event) => {
    event.preventDefault();
    setSaving(true);
    setResult(undefined);
    try {
      const answer = await save(list);
      if (answer.saved && answer.problems.length === 0) {
        toast(`${shown.trim()} is saved. Its first picture arrives in a moment.`);
        // Unless another page was opened meanwhile.
        if (!isGone.current) go("live", { source: shown.trim() });
        return;
      }
      setResult({ of, edited: answer });
    } catch (thrown) {
      setResult({ of, error: asApiError(thrown) });
    }
    setSaving(false);
  };
  return (
    <form class="stack" onSubmit={(event) => void submit(event)}>
      <Field label="A name for the camera" value={shown} onInput={setName} maxLength={60} hint="It becomes a part of the MQTT topics." />
      {error && <Problem error={error} />}
      {edited && <NotSaved edited={edited} />}
      <div class="row">
        <Button type="submit" kind="primary" busy={isSaving} disabled={shown.trim() === ""}>Save and watch</Button>
        {camera.password !== "" && <span class="small muted">The password is written to the configuration file.</span>}
      </div>
    </form>
  );
}

/** Why the configuration was not saved, and the lines to paste; or what is wrong although it was saved. */
function NotSaved({ edited }: { edited: Edited }) {
  const isHidden = edited.masked && edited.lines.after.includes("***");
  return (
    <div class="stack">
      <Problem>
        {edited.saved && <p>It is saved, and the service found a problem in the configuration:</p>}
        {edited.problems.map((problem) => <p key={problem.message}>{sentence(problem.message)} {problem.remedy && sentence(problem.remedy)}</p>)}
        {edited.why_not && <p>{sentence(edited.why_not)} {edited.remedy && sentence(edited.remedy)}</p>}
      </Problem>
      {!edited.saved && edited.problems.length === 0 && (
        <>
          <p>Or write these lines {placeOf(edited.lines)} of <code>{edited.path}</code>{isHidden && ", with the password in place of ***"}:</p>
          <pre class="code" tabIndex={0}>{edited.lines.after}</pre>
        </>
      )}
    </div>
  );
}

/** Where the lines belong: an empty `sources: {}` is replaced. */
function placeOf({ first, before }: Edited["lines"]): string {
  if (before === "") return `before line ${first}`;
  const last = first + before.replace(/\n$/, "").split("\n").length - 1;
  return last === first ? `in place of line ${first}` : `in place of lines ${first} to ${last}`;
}
