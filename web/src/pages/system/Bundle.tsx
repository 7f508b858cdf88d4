// The support bundle: what is in it, and then the file.

import { useState } from "preact/hooks";
import type { ApiError } from "../../api";
import { bytes } from "../../format";
import { Button } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { Problem } from "../../parts/Problem";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import { type Facts, bundle as makeBundle } from "./facts";

/** Says what a bundle has in it, makes one, and hands it to the browser. */
export function BundleDialog({ files, onClose }: { files: Facts["bundle"]; onClose: () => void }) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const make = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const { name, content } = await makeBundle();
      const file = decoded(content);
      save(name, file);
      toast(`${name} has ${bytes(file.size)}.`);
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="Support bundle"
      onClose={onClose}
      actions={<Button kind="primary" busy={isBusy} onClick={() => void make()}>{isBusy ? "Checking and packing" : "Download"}</Button>}
    >
      <p>One file for someone who helps you to find a fault. It is made on the machine of the service, and goes nowhere but to this browser.</p>
      <ul class="system-files">
        {files.map((file) => <li key={file.name}><code>{file.name}</code><span>{file.what}</span></li>)}
      </ul>
      <p>It has no pictures, scores, embeddings and alerts, and no passwords and tokens. It has the names of sources, labels, hosts, folders and topics: read it before you give it to someone.</p>
      <p class="muted">The checks run first, which takes up to a minute.</p>
      {error && <Problem error={error} />}
    </Dialog>
  );
}

function decoded(base64: string): Blob {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "application/gzip" });
}

/** Lets the browser store a file. */
function save(name: string, content: Blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
