// The editor is in a shadow root: its library adds its styles to one as the policy of the page allows (adopted style sheets), and to a
// document as a <style> element, which the policy forbids.

import { Heading } from "../parts/Heading";

export default function Page() {
  return <Heading title="Configuration" />;
}
