//! Keeps packets undecoded that are not needed if the next key frame arrives when it is expected.
//!
//! With one frame a second and a key frame every four seconds, a quarter of all frames is never decoded. If the key frame is
//! late, the kept packets are decoded after all. At most a few megabytes are kept.

use ffmpeg_next::Packet;

use super::input::Arrived;

/// A second of the largest streams that cameras send.
const MOST: usize = 4 << 20;

/// The kept packets.
#[derive(Default)]
pub(crate) struct DeferredPackets {
    packets: Vec<Arrived>,
    bytes: usize,
}

impl DeferredPackets {
    /// Whether there is room for one more packet.
    pub(crate) fn has_room(&self, packet: &Packet) -> bool {
        self.bytes + packet.size() <= MOST
    }

    pub(crate) fn keep(&mut self, packet: Arrived) {
        self.bytes += packet.packet.size();
        self.packets.push(packet);
    }

    /// Takes the kept packets out, in order.
    pub(crate) fn take(&mut self) -> Vec<Arrived> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }
}
