// What is shown to a browser that is not signed in.

import { useEffect } from "preact/hooks";

export function SignedOut() {
  useEffect(() => {
    document.title = "Sign in – stakeout";
  }, []);
  return (
    <section class="signed-out">
      <h1>Sign in</h1>
      <p>Run this command on the machine of the service, and open the link that it prints:</p>
      <pre><code>stakeout console</code></pre>
      <p>The link works once. This browser stays signed in afterwards.</p>
    </section>
  );
}
