//! Packets that nobody needs if the next key frame comes when it is expected: they are kept undecoded until it is there.
//!
//! Where a frame a second is wanted and a key frame comes every four, a quarter of all frames is never decoded. If the key frame
//! does not come, what was kept is decoded after all, and nothing is lost but a moment. It refuses to keep more than a
//! few megabytes.

use ffmpeg_next::Packet;

/// A second of the largest streams that cameras send.
const MOST: usize = 4 << 20;

/// What is kept.
#[derive(Default)]
pub(crate) struct Rest {
    packets: Vec<Packet>,
    bytes: usize,
}

impl Rest {
    /// Whether there is room for one more packet.
    pub(crate) fn has_room(&self, packet: &Packet) -> bool {
        self.bytes + packet.size() <= MOST
    }

    pub(crate) fn keep(&mut self, packet: Packet) {
        self.bytes += packet.size();
        self.packets.push(packet);
    }

    /// What was kept, in order; nothing any more from now on.
    pub(crate) fn take(&mut self) -> Vec<Packet> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }
}
