//! Checks whether a JPEG holds all of its pixels, by reading its scans without computing a pixel.
//!
//! libjpeg continues after damage, and reports only its first warning. A picture with stray bytes before a marker is complete. A
//! picture with a scan that ends early is not. A picture may have both. This module counts the blocks of every scan, as libjpeg
//! does, for the sequential and progressive Huffman modes. Other modes (arithmetic, lossless) are never called complete.
//!
//! Source: ITU-T T.81, annexes F and G, and libjpeg's handling of fill bytes and restarts.

use super::super::containers;

/// The coefficients of a block.
const BLOCK: usize = 64;

/// Whether every block of every component was coded, and no code is invalid. Without an end marker a progressive picture must
/// also have all of its refinements.
pub(super) fn are_complete(bytes: &[u8]) -> bool {
    let mut reader = Reader { bytes, at: 2, ..Reader::default() };
    let ended = match reader.run() {
        Some(ended) => ended,
        None => return false,
    };
    let Some(frame) = reader.frame else { return false };
    frame.components.iter().all(|component| match (frame.is_progressive, ended) {
        (false, _) | (true, true) => component.bits_left[0].is_some(),
        (true, false) => component.bits_left.iter().all(|left| *left == Some(0)),
    })
}

/// The bytes of the coefficients that libjpeg keeps until the last scan: none if there is one scan. `None` for a header that is not
/// understood.
pub(super) fn coefficients(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader { bytes, at: 2, ..Reader::default() };
    let mut frame = None;
    loop {
        let marker = reader.next_marker()?;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let segment = reader.segment()?;
        match marker {
            0xD9 => return None,
            // A table or an extension.
            0xC4 | 0xC8 | 0xCC => {}
            0xC0..=0xCF => {
                let is_progressive = matches!(marker, 0xC2 | 0xC6 | 0xCA | 0xCE);
                frame = Some((Frame::read(&segment, is_progressive)?, is_progressive));
            }
            0xDA => {
                let (frame, is_progressive) = frame?;
                let in_scan = usize::from(*segment.first()?);
                let has_several = is_progressive || in_scan < frame.components.len();
                return Some(if has_several { 2 * (BLOCK as u64) * frame.blocks() } else { 0 });
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    frame: Option<Frame>,
    /// By class (0: DC, 1: AC) and number.
    codes: [[Option<Codes>; 4]; 2],
    restart_interval: usize,
}

struct Frame {
    is_progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    across: usize,
    down: usize,
    /// For each coefficient, the low bits that are still to come; `None` before its first scan.
    bits_left: [Option<u8>; BLOCK],
    /// For each block, the coefficients that are not zero so far; for progressive pictures only.
    nonzero: Vec<u64>,
    blocks_in_row: usize,
}

/// The header of a scan.
struct Scan {
    /// Numbers of the components in the frame, with their DC and AC tables.
    components: Vec<(usize, usize, usize)>,
    /// The first and the last coefficient.
    band: (usize, usize),
    /// Whether an earlier scan had the high bits.
    is_refinement: bool,
    /// The low bits that later scans will have.
    low: u8,
}

impl Reader<'_> {
    /// Reads all segments and scans, and returns whether there is an end marker. `None` if a scan is damaged or not supported.
    fn run(&mut self) -> Option<bool> {
        loop {
            let Some(marker) = self.next_marker() else { return Some(false) };
            match marker {
                0xD9 => return Some(true),
                0x01 | 0xD0..=0xD8 => continue,
                _ => {}
            }
            let Some(segment) = self.segment() else { return Some(false) };
            match marker {
                // A second frame would need memory for other pixels than those that libjpeg has decoded.
                0xC0..=0xC2 if self.frame.is_none() => {
                    self.frame = Some(Frame::read(&segment, marker == 0xC2)?.with_blocks());
                }
                0xC4 => self.read_codes(&segment)?,
                0xDD => self.restart_interval = usize::from(u16::from_be_bytes(*segment.first_chunk()?)),
                0xDA => self.scan(&segment)?,
                // Other frames.
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return None,
                _ => {}
            }
        }
    }

    /// The code of the next marker; reading continues after it.
    fn next_marker(&mut self) -> Option<u8> {
        let code = containers::next_marker(self.bytes, self.at)?;
        self.at = code + 1;
        Some(self.bytes[code])
    }

    fn segment(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes(*self.bytes.get(self.at..)?.first_chunk()?));
        let segment = self.bytes.get(self.at + 2..self.at + length)?.to_vec();
        self.at += length;
        Some(segment)
    }

    fn read_codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let symbols = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols)?;
            let place = self.codes.get_mut(usize::from(kind >> 4))?.get_mut(usize::from(kind & 15))?;
            *place = Some(Codes::new(counts, symbols)?);
            segment = rest;
        }
        Some(())
    }

    /// Reads all blocks of a scan.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let frame = self.frame.as_mut()?;
        let scan = Scan::read(segment, frame)?;
        let mut bits = Bits { bytes: self.bytes, at: self.at, held: 0, count: 0 };
        let (units, is_interleaved) = frame.units(&scan);
        let table = |class: usize, number: usize| self.codes[class][number].as_ref().map(Table::of);
        let tables: Vec<_> =
            scan.components.iter().map(|(_, dc, ac)| (table(0, *dc), table(1, *ac))).collect();
        let (mut run, mut until_restart, mut restarts) = (0, self.restart_interval, 0_u8);
        for unit in 0..units.0 * units.1 {
            if self.restart_interval > 0 {
                if until_restart == 0 {
                    self.at = bits.at;
                    // Another marker means that a part is lost.
                    (self.next_marker()? == 0xD0 + restarts).then_some(())?;
                    bits = Bits { bytes: self.bytes, at: self.at, held: 0, count: 0 };
                    (run, until_restart, restarts) = (0, self.restart_interval, (restarts + 1) % 8);
                }
                until_restart -= 1;
            }
            let frame = self.frame.as_mut()?;
            let place = (unit % units.0, unit / units.0);
            for ((number, ..), (dc, ac)) in scan.components.iter().zip(&tables) {
                let tables = (dc.as_ref(), ac.as_ref());
                let component = &mut frame.components[*number];
                let (across, down) = if is_interleaved { (component.across, component.down) } else { (1, 1) };
                for block in 0..across * down {
                    let x = place.0 * across + block % across;
                    let y = place.1 * down + block / across;
                    if frame.is_progressive {
                        let nonzero = component.nonzero.get_mut(y * component.blocks_in_row + x)?;
                        let block = Block { bits: &mut bits, nonzero, run: &mut run };
                        scan.progressive_block(tables, block)?;
                    } else {
                        sequential_block(&mut bits, tables)?;
                    }
                }
            }
        }
        self.at = bits.at;
        Some(())
    }
}

impl Frame {
    fn read(segment: &[u8], is_progressive: bool) -> Option<Self> {
        let [8, h1, h0, w1, w0, count, rest @ ..] = segment else { return None };
        let (height, width) = (u16::from_be_bytes([*h1, *h0]).into(), u16::from_be_bytes([*w1, *w0]).into());
        let component = |bytes: &[u8; 3]| {
            let [id, sampling, _] = *bytes;
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            let valid = (1..=4).contains(&across) && (1..=4).contains(&down);
            valid.then_some(Component {
                id,
                across,
                down,
                bits_left: [None; BLOCK],
                nonzero: vec![],
                blocks_in_row: 0,
            })
        };
        let components = rest.as_chunks::<3>().0.iter().take((*count).into());
        let components = components.map(component).collect::<Option<Vec<_>>>()?;
        let is_valid = width > 0 && height > 0 && !components.is_empty();
        is_valid.then_some(Self { is_progressive, width, height, components })
    }

    /// The frame with memory for the state of its blocks, which only progressive pictures need.
    fn with_blocks(mut self) -> Self {
        if self.is_progressive {
            let (across, down) = self.interleaved_units();
            for component in &mut self.components {
                component.blocks_in_row = across * component.across;
                component.nonzero = vec![0; component.blocks_in_row * down * component.down];
            }
        }
        self
    }

    /// The blocks of all components, those beyond the edges of the picture included.
    fn blocks(&self) -> u64 {
        let (across, down) = self.interleaved_units();
        let in_unit: usize = self.components.iter().map(|component| component.across * component.down).sum();
        // 16 bits a side, and at most 255 components of 16 blocks.
        (across * down * in_unit) as u64
    }

    fn largest(&self) -> (usize, usize) {
        let of = |side: fn(&Component) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        (of(|component| component.across), of(|component| component.down))
    }

    /// The units of a scan of all components, across and down.
    fn interleaved_units(&self) -> (usize, usize) {
        let (across, down) = self.largest();
        (self.width.div_ceil(8 * across), self.height.div_ceil(8 * down))
    }

    /// The units of a scan, across and down, and whether a unit holds several components. A scan of one component has only the
    /// blocks that the picture needs.
    fn units(&self, scan: &Scan) -> ((usize, usize), bool) {
        let [(number, ..)] = scan.components[..] else { return (self.interleaved_units(), true) };
        let (component, largest) = (&self.components[number], self.largest());
        let blocks = |side: usize, own: usize, largest: usize| (side * own).div_ceil(largest).div_ceil(8);
        let across = blocks(self.width, component.across, largest.0);
        ((across, blocks(self.height, component.down, largest.1)), false)
    }
}

impl Scan {
    fn read(segment: &[u8], frame: &mut Frame) -> Option<Self> {
        let (count, rest) = segment.split_first()?;
        let (selected, rest) = rest.split_at_checked(2 * usize::from(*count))?;
        let [first, last, bits, ..] = *rest else { return None };
        let component = |bytes: &[u8; 2]| {
            let number = frame.components.iter().position(|component| component.id == bytes[0])?;
            let (dc, ac) = (usize::from(bytes[1] >> 4), usize::from(bytes[1] & 15));
            (dc < 4 && ac < 4).then_some((number, dc, ac))
        };
        let components = selected.as_chunks::<2>().0.iter().map(component).collect::<Option<Vec<_>>>()?;
        if components.is_empty() {
            return None;
        }
        let scan = if frame.is_progressive {
            let band = (usize::from(first), usize::from(last));
            let is_valid = band.0 <= band.1 && band.1 < BLOCK && (band.0 > 0 || band.1 == 0);
            (is_valid && (band.0 == 0 || components.len() == 1)).then_some(())?;
            Self { components, band, is_refinement: bits >> 4 != 0, low: bits & 15 }
        } else {
            // Sequential JPEG does not use these fields, and some cameras fill them with anything.
            Self { components, band: (0, BLOCK - 1), is_refinement: false, low: 0 }
        };
        for (number, ..) in &scan.components {
            frame.components[*number].bits_left[scan.band.0..=scan.band.1].fill(Some(scan.low));
        }
        Some(scan)
    }

    fn progressive_block(
        &self,
        (dc, ac): (Option<&Table>, Option<&Table>),
        block: Block<'_, '_>,
    ) -> Option<()> {
        match (self.band.0, self.is_refinement) {
            (0, false) => {
                let size = block.bits.symbol(dc?)?;
                block.bits.skip(size.into())
            }
            (0, true) => block.bits.skip(1),
            (_, false) => self.first_of_band(ac?, block),
            (_, true) => self.refinement_of_band(ac?, block),
        }
    }

    fn first_of_band(&self, table: &Table, block: Block<'_, '_>) -> Option<()> {
        let Block { bits, nonzero, run } = block;
        if *run > 0 {
            *run -= 1;
            return Some(());
        }
        let mut at = self.band.0;
        while at <= self.band.1 {
            let (zeros, size) = bits.zeros_and_size(table)?;
            if size == 0 && zeros < 15 {
                *run = (1 << zeros) + bits.take(zeros)? - 1;
                return Some(());
            }
            at += zeros as usize;
            if size > 0 {
                (at <= self.band.1).then_some(())?;
                bits.skip(size)?;
                *nonzero |= 1 << at;
            }
            at += 1;
        }
        Some(())
    }

    fn refinement_of_band(&self, table: &Table, block: Block<'_, '_>) -> Option<()> {
        let Block { bits, nonzero, run } = block;
        let mut at = self.band.0;
        while *run == 0 && at <= self.band.1 {
            let (mut zeros, size) = bits.zeros_and_size(table)?;
            match size {
                0 if zeros < 15 => {
                    *run = (1 << zeros) + bits.take(zeros)?;
                    break;
                }
                0 => {}
                1 => bits.skip(1)?,
                _ => return None,
            }
            // One correction bit for each coefficient that is not zero, up to the place of the new one.
            while at <= self.band.1 {
                if *nonzero >> at & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size == 1 {
                (at <= self.band.1).then_some(())?;
                *nonzero |= 1 << at;
            }
            at += 1;
        }
        if *run > 0 {
            let corrections = (at..=self.band.1).filter(|at| *nonzero >> at & 1 == 1).count();
            (0..corrections).try_for_each(|_| bits.skip(1))?;
            *run -= 1;
        }
        Some(())
    }
}

/// A block of a progressive picture while it is read.
struct Block<'a, 'b> {
    bits: &'a mut Bits<'b>,
    /// Its coefficients that are not zero so far.
    nonzero: &'a mut u64,
    /// The blocks that are still to be skipped.
    run: &'a mut u32,
}

fn sequential_block(bits: &mut Bits<'_>, (dc, ac): (Option<&Table>, Option<&Table>)) -> Option<()> {
    let size = bits.symbol(dc?)?;
    bits.skip(size.into())?;
    let ac = ac?;
    let mut at = 1;
    while at < BLOCK {
        let (zeros, size) = bits.zeros_and_size(ac)?;
        if size == 0 && zeros < 15 {
            break;
        }
        at += zeros as usize + 1;
        (at <= BLOCK).then_some(())?;
        bits.skip(size)?;
    }
    Some(())
}

/// A Huffman code as the file has it. A file may have millions of them; a [`Table`] is only made of those that a scan uses.
struct Codes {
    /// The lengths and the symbols of the codes, in their order.
    symbols: Vec<(u8, u8)>,
}

impl Codes {
    /// The number of codes of each length from 1 to 16, and their symbols. `None` if there are more codes than bits for them.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let lengths =
            (1_u8..).zip(counts).flat_map(|(length, count)| std::iter::repeat_n(length, (*count).into()));
        let symbols: Vec<_> = lengths.zip(symbols.iter().copied()).collect();
        let used: usize = symbols.iter().map(|(length, _)| 1 << (16 - length)).sum();
        (used <= 1 << 16).then_some(Self { symbols })
    }
}

/// A Huffman table: for the next 16 bits, the length of the code and its symbol. Length 0: no code.
struct Table(Vec<(u8, u8)>);

impl Table {
    fn of(codes: &Codes) -> Self {
        let mut entries = Vec::with_capacity(1 << 16);
        for code in &codes.symbols {
            entries.resize(entries.len() + (1 << (16 - code.0)), *code);
        }
        entries.resize(1 << 16, (0, 0));
        Self(entries)
    }
}

/// The bits of a scan up to the next marker.
struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, rest @ ..]) => {
                    // A zero follows a byte of 255 that is no marker, after any number of fill bytes.
                    let fill = rest.iter().take_while(|byte| **byte == 0xFF).count();
                    if rest.get(fill) != Some(&0) {
                        return;
                    }
                    self.at += fill + 2;
                    0xFF
                }
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
                _ => return,
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// `None` if there are no more bits.
    fn take(&mut self, count: u32) -> Option<u32> {
        if self.count < count {
            self.fill();
        }
        self.count = self.count.checked_sub(count)?;
        Some((self.held >> self.count & ((1 << count) - 1)) as u32)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.take(count).map(drop)
    }

    fn symbol(&mut self, table: &Table) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        // After the last bit, zeros fill the 16 bits. A code that needs one of them is invalid: `skip` fails.
        let next =
            if self.count < 16 { self.held << (16 - self.count) } else { self.held >> (self.count - 16) };
        let (length, symbol) = table.0[(next & 0xFFFF) as usize];
        (length > 0).then_some(())?;
        self.skip(length.into())?;
        Some(symbol)
    }

    fn zeros_and_size(&mut self, table: &Table) -> Option<(u32, u32)> {
        let symbol = u32::from(self.symbol(table)?);
        Some((symbol >> 4, symbol & 15))
    }
}
