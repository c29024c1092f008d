//! Places on earth as the scores of a sorted set: cells of a grid whose numbers interleave latitude and longitude.
//!
//! ```text
//! score    lon lat lon lat ... 26 bits of each, the highest first; a cell is 0.6 m high at most
//! ```
//!
//! A coarser cell, of fewer bits of each, is a range of scores, so an area is searched for in a few ranges that cover
//! it. Latitudes end at those of the web Mercator projection.
//!
//! Invariant: the place that a score stands for, the middle of its cell, lies in the cell.
//!
//! Source: behaviour of Valkey 9.1 `geohash.c`; G. Niemeyer's geohash (2008) for the text form.

use std::ops::Range;

/// Longitudes go from minus this to this.
pub(crate) const LONGITUDE_MAX: f64 = 180.0;
/// Latitudes go from minus this to this.
pub(crate) const LATITUDE_MAX: f64 = 85.051_128_78;
/// Bits of a coordinate in a score.
const STEPS: u32 = 26;
/// Characters of a geohash as text, of five bits each but for the last, which has none left.
const TEXT_BYTES: usize = 11;
const TEXT_LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Degrees by which an area is widened before it is covered, so that rounding loses nothing.
const MARGIN_DEGREES: f64 = 1e-6;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// The number of the cell, of `1 << steps`, in which `degrees` lies; the upper edge has a number of its own.
fn cell_of(degrees: f64, degrees_max: f64, steps: u32) -> u32 {
    ((degrees + degrees_max) / (2.0 * degrees_max) * f64::from(1u32 << steps)) as u32
}

/// The middle of a cell.
fn middle_of(cell: u32, degrees_max: f64) -> f64 {
    let edge = |cell: f64| cell / f64::from(1u32 << STEPS) * (2.0 * degrees_max) - degrees_max;
    let middle = f64::midpoint(edge(f64::from(cell)), edge(f64::from(cell) + 1.0));
    middle.clamp(-degrees_max, degrees_max)
}

/// Puts a zero in front of every bit.
fn spread(bits: u32) -> u64 {
    let mut spread = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

/// Keeps every other bit.
fn gather(bits: u64) -> u32 {
    let mut gathered = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF),
    ] {
        gathered = (gathered | gathered >> shift) & mask;
    }
    gathered as u32
}

fn interleaved(latitude_cell: u32, longitude_cell: u32) -> u64 {
    spread(latitude_cell) | spread(longitude_cell) << 1
}

impl Place {
    /// The score that stands for the place: 52 bits, but at the easternmost and northernmost edges.
    pub(crate) fn score(self) -> f64 {
        let latitude_cell = cell_of(self.latitude, LATITUDE_MAX, STEPS);
        interleaved(latitude_cell, cell_of(self.longitude, LONGITUDE_MAX, STEPS)) as f64
    }

    /// The place that a score stands for. Scores that stand for none give some place.
    pub(crate) fn of_score(score: f64) -> Place {
        let bits = score as u64;
        Place {
            longitude: middle_of(gather(bits >> 1), LONGITUDE_MAX),
            latitude: middle_of(gather(bits), LATITUDE_MAX),
        }
    }

    /// The geohash as everybody writes it: its latitudes go up to the poles.
    pub(crate) fn text(self) -> [u8; TEXT_BYTES] {
        let bits = interleaved(cell_of(self.latitude, 90.0, STEPS), cell_of(self.longitude, LONGITUDE_MAX, STEPS));
        std::array::from_fn(|index| {
            let shift = (2 * STEPS as usize).checked_sub(5 * (index + 1));
            TEXT_LETTERS[shift.map_or(0, |shift| (bits >> shift & 31) as usize)]
        })
    }
}

/// Degrees from the south to the north and from the west to the east. Longitudes may go on beyond the date line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Box {
    pub(crate) latitudes: Range<f64>,
    pub(crate) longitudes: Range<f64>,
}

/// The numbers of the cells that cover `degrees`.
fn cells(degrees: &Range<f64>, degrees_max: f64, steps: u32) -> std::ops::RangeInclusive<u32> {
    let cell = |at: f64| cell_of(at.clamp(-degrees_max, degrees_max), degrees_max, steps);
    cell(degrees.start - MARGIN_DEGREES)..=cell(degrees.end + MARGIN_DEGREES)
}

impl Box {
    /// Bits of each coordinate of the smallest cells that are half as high and as wide as the box at least.
    fn steps(&self) -> u32 {
        let height = self.latitudes.end - self.latitudes.start;
        let width = self.longitudes.end - self.longitudes.start;
        let is_enough = |steps: &u32| {
            let count = f64::from(1u32 << steps);
            height / 2.0 <= 2.0 * LATITUDE_MAX / count && width / 2.0 <= 2.0 * LONGITUDE_MAX / count
        };
        (1..=STEPS).rev().find(is_enough).unwrap_or(1)
    }

    /// The parts of the longitudes on this side of the date line.
    fn longitude_parts(&self) -> Vec<Range<f64>> {
        let Range { start: west, end: east } = self.longitudes;
        if 2.0 * LONGITUDE_MAX <= east - west {
            return vec![-LONGITUDE_MAX..LONGITUDE_MAX];
        }
        let turned = [-2.0 * LONGITUDE_MAX, 0.0, 2.0 * LONGITUDE_MAX].map(|turn| west + turn..east + turn);
        let is_here = |part: &Range<f64>| {
            -LONGITUDE_MAX <= part.end + MARGIN_DEGREES && part.start - MARGIN_DEGREES <= LONGITUDE_MAX
        };
        turned.into_iter().filter(is_here).collect()
    }

    /// Ranges of scores, ascending and apart, that hold every place in the box.
    ///
    /// # Cost
    /// A dozen cells or two.
    pub(crate) fn scores(&self) -> Vec<Range<f64>> {
        let steps = self.steps();
        let shift = 2 * (STEPS - steps);
        let mut starts: Vec<u64> = Vec::new();
        for latitude_cell in cells(&self.latitudes, LATITUDE_MAX, steps) {
            for part in self.longitude_parts() {
                let across = cells(&part, LONGITUDE_MAX, steps);
                starts.extend(across.map(|longitude_cell| interleaved(latitude_cell, longitude_cell) << shift));
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let mut ranges: Vec<Range<f64>> = Vec::new();
        for start in starts {
            let end = (start + (1 << shift)) as f64;
            match ranges.last_mut() {
                Some(last) if last.end == start as f64 => last.end = end,
                _ => ranges.push(start as f64..end),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(longitude: f64, latitude: f64) -> Place {
        Place { longitude, latitude }
    }

    #[test]
    fn scores_and_texts_are_those_everybody_has() {
        // From the documentation of GEOADD, GEOHASH and GEOPOS.
        let palermo = place(13.361389, 38.115556);
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        assert_eq!(Place::of_score(palermo.score()), place(13.361_389_338_970_184, 38.115_556_395_496_3));
        assert_eq!(&Place::of_score(palermo.score()).text(), b"sqc8b49rny0");
        assert_eq!(&Place::of_score(place(15.087269, 37.502669).score()).text(), b"sqdtr74hyu0");
    }

    #[test]
    fn a_place_lies_in_its_cell_and_comes_back_close() {
        let longitudes = [-180.0, -179.999_999, -0.000_001, 0.0, 13.37, 90.0, 179.999_999, 180.0];
        let latitudes = [-LATITUDE_MAX, -66.6, -0.000_001, 0.0, 1e-7, 45.0, LATITUDE_MAX];
        for (longitude, latitude) in longitudes.iter().flat_map(|lon| latitudes.map(|lat| (*lon, lat))) {
            let there = place(longitude, latitude);
            let back = Place::of_score(there.score());
            assert!((back.longitude - longitude).abs() < 6e-6 && (back.latitude - latitude).abs() < 6e-6);
            if longitude < LONGITUDE_MAX && latitude < LATITUDE_MAX {
                assert_eq!(back.score(), there.score());
            }
        }
    }

    #[test]
    fn bits_are_spread_and_gathered_again() {
        for bits in (0..32).map(|bit| 1u32 << bit).chain([0, u32::MAX, 0x1234_5678]) {
            assert_eq!(gather(spread(bits)), bits);
            assert_eq!(gather(spread(bits) << 1), 0);
        }
    }

    #[test]
    fn ranges_hold_every_place_of_the_box_and_are_few() {
        let mut state = 7u64;
        let mut random = |low: f64, high: f64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            low + (high - low) * ((state >> 11) as f64 / (1u64 << 53) as f64)
        };
        for round in 0..2_000 {
            let size = 10f64.powf(random(-5.0, 2.3));
            let (south, west) = (random(-LATITUDE_MAX, LATITUDE_MAX), random(-190.0, 180.0));
            let around = Box { latitudes: south..south + size / 2.0, longitudes: west..west + size };
            let ranges = around.scores();
            assert!((1..=25).contains(&ranges.len()), "{around:?}: {}", ranges.len());
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            for _ in 0..20 {
                let latitude = random(south, south + size / 2.0).clamp(-LATITUDE_MAX, LATITUDE_MAX);
                let mut longitude = random(west, west + size);
                longitude -= ((longitude + 180.0) / 360.0).floor() * 360.0;
                let score = place(longitude, latitude).score();
                assert!(ranges.iter().any(|range| range.contains(&score)), "round {round}: {longitude} {latitude}");
            }
        }
    }
}
