import { Heading } from "../parts/Heading";

export default function Page() {
  return <Heading title="Start" />;
}
