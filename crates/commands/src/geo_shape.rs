//! Shapes on earth: what lies within, how far from the middle, and the degrees around.
//!
//! The earth is a ball here, and distances go along great circles (the haversine formula). A box is as high and as wide
//! as it says at the latitude of whatever is looked for in it; a polygon has straight sides in degrees and does not
//! cross the date line.
//!
//! Source: behaviour of Valkey 9.1 `geohash_helper.c`.

use crate::geo_cells::{Box, Place};
use std::f64::consts::PI;

/// Quadratic mean radius of the earth.
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Below this, the sine of half a difference of longitudes is no difference: six nanometres.
const SINE_MIN: f64 = 1e-15;

/// What is searched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// All within a distance.
    Circle {
        /// That distance.
        radius_m: f64,
    },
    /// All within half a width and half a height.
    Box {
        /// From west to east.
        width_m: f64,
        /// From south to north.
        height_m: f64,
    },
    /// All between these corners.
    Polygon(Vec<Place>),
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// Metres from one latitude to another.
fn latitude_distance_m(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (radians(other) - radians(one)).abs()
}

/// Metres from one place to another.
pub(crate) fn distance_m(one: Place, other: Place) -> f64 {
    let half_longitude = ((radians(other.longitude) - radians(one.longitude)) / 2.0).sin();
    if half_longitude.abs() <= SINE_MIN {
        return latitude_distance_m(one.latitude, other.latitude);
    }
    let (from, to) = (radians(one.latitude), radians(other.latitude));
    let half_latitude = ((to - from) / 2.0).sin();
    let square = half_latitude * half_latitude + from.cos() * to.cos() * half_longitude * half_longitude;
    2.0 * EARTH_RADIUS_M * square.sqrt().asin()
}

impl Shape {
    /// The middle of a polygon's corners, seen from the middle of the earth.
    pub(crate) fn center_of(corners: &[Place]) -> Place {
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for corner in corners {
            let (longitude, latitude) = (radians(corner.longitude), radians(corner.latitude));
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        Place { longitude: degrees(y.atan2(x)), latitude: degrees(z.atan2(x.hypot(y))) }
    }

    /// Metres from `center` to `place`, if that lies within the shape around `center`.
    pub(crate) fn distance_within_m(&self, center: Place, place: Place) -> Option<f64> {
        let is_within = match self {
            Shape::Circle { radius_m } => {
                let distance_m = distance_m(center, place);
                return (distance_m <= *radius_m).then_some(distance_m);
            }
            Shape::Box { width_m, height_m } => {
                let beside = Place { latitude: place.latitude, ..center };
                latitude_distance_m(center.latitude, place.latitude) <= height_m / 2.0
                    && distance_m(place, beside) <= width_m / 2.0
            }
            Shape::Polygon(corners) => is_between(corners, place),
        };
        is_within.then(|| distance_m(center, place))
    }

    /// Degrees around all that lies within the shape around `center`.
    pub(crate) fn bounds(&self, center: Place) -> Box {
        match self {
            Shape::Circle { radius_m } => circle_bounds(center, *radius_m),
            Shape::Box { width_m, height_m } => box_bounds(center, *width_m, *height_m),
            Shape::Polygon(corners) => {
                let around = |degrees: fn(&Place) -> f64| {
                    let all = corners.iter().map(degrees);
                    all.clone().fold(f64::INFINITY, f64::min)..all.fold(f64::NEG_INFINITY, f64::max)
                };
                Box { latitudes: around(|corner| corner.latitude), longitudes: around(|corner| corner.longitude) }
            }
        }
    }
}

/// Whether a ray from `place` to the east crosses an odd number of sides.
fn is_between(corners: &[Place], place: Place) -> bool {
    let Some(last) = corners.last() else { return false };
    let mut is_inside = false;
    let mut before = last;
    for corner in corners {
        let (from, to) = (corner, std::mem::replace(&mut before, corner));
        if (place.latitude < from.latitude) != (place.latitude < to.latitude) {
            let part = (place.latitude - from.latitude) / (to.latitude - from.latitude);
            is_inside ^= place.longitude < (to.longitude - from.longitude) * part + from.longitude;
        }
    }
    is_inside
}

/// Where a latitude ends up `angle` degrees away from `center`, to the south and to the north.
fn latitudes(center: Place, angle: f64) -> std::ops::Range<f64> {
    center.latitude - angle..center.latitude + angle
}

/// Longitudes up to an angle away from `center`, given by its sine and told in as many degrees as `times` it is; all of
/// them when there is no such angle.
fn longitudes(center: Place, sine: f64, times: f64) -> std::ops::Range<f64> {
    let difference = if sine < 1.0 { times * degrees(sine.asin()) } else { 180.0 };
    center.longitude - difference..center.longitude + difference
}

fn circle_bounds(center: Place, radius_m: f64) -> Box {
    let angle = radius_m / EARTH_RADIUS_M;
    let latitudes = latitudes(center, degrees(angle));
    // With a pole inside all longitudes are. Else the widest place is where a meridian touches the circle.
    let has_pole = latitudes.start <= -90.0 || 90.0 <= latitudes.end;
    let sine = if has_pole { 1.0 } else { angle.sin() / radians(center.latitude).cos() };
    Box { latitudes, longitudes: longitudes(center, sine, 1.0) }
}

fn box_bounds(center: Place, width_m: f64, height_m: f64) -> Box {
    let latitudes = latitudes(center, degrees(height_m / 2.0 / EARTH_RADIUS_M));
    // A width spans most degrees where it is nearest to a pole.
    let farthest = latitudes.start.abs().max(latitudes.end.abs()).min(90.0);
    let quarter = width_m / 4.0 / EARTH_RADIUS_M;
    let sine = if PI / 2.0 <= quarter { 1.0 } else { quarter.sin() / radians(farthest).cos() };
    Box { latitudes, longitudes: longitudes(center, sine, 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(longitude: f64, latitude: f64) -> Place {
        Place { longitude, latitude }
    }

    fn random(state: &mut u64, low: f64, high: f64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * ((*state >> 11) as f64 / (1u64 << 53) as f64)
    }

    #[test]
    fn distances_are_those_everybody_has() {
        // From the documentation of GEODIST.
        let palermo = place(13.361_389_338_970_184, 38.115_556_395_496_3);
        let catania = place(15.087_267_458_438_873, 37.502_668_423_331_62);
        assert_eq!(format!("{:.4}", distance_m(palermo, catania)), "166274.1516");
        assert_eq!(distance_m(palermo, palermo), 0.0);
        assert!((distance_m(place(0.0, 0.0), place(180.0, 0.0)) - PI * EARTH_RADIUS_M).abs() < 1.0);
    }

    #[test]
    fn bounds_hold_all_that_lies_within() {
        let mut state = 3;
        let mut hits = 0;
        for _ in 0..3_000 {
            let center = place(random(&mut state, -180.0, 180.0), random(&mut state, -85.0, 85.0));
            let metres = 10f64.powf(random(&mut state, 2.0, 7.4));
            let height_m = metres * random(&mut state, 0.1, 2.0);
            for shape in [Shape::Circle { radius_m: metres }, Shape::Box { width_m: metres, height_m }] {
                let bounds = shape.bounds(center);
                for _ in 0..20 {
                    let spread = degrees(metres / EARTH_RADIUS_M) * 2.0;
                    let latitude = (center.latitude + random(&mut state, -spread, spread)).clamp(-85.0, 85.0);
                    let longitude =
                        center.longitude + random(&mut state, -spread * 4.0, spread * 4.0).clamp(-180.0, 180.0);
                    if shape.distance_within_m(center, place(longitude, latitude)).is_some() {
                        hits += 1;
                        let slack = 1e-6;
                        let Box { latitudes, longitudes } = &bounds;
                        assert!(latitudes.start - slack <= latitude && latitude <= latitudes.end + slack);
                        assert!(longitudes.start - slack <= longitude, "{shape:?} {center:?} {longitude} {latitude}");
                        assert!(longitude <= longitudes.end + slack, "{shape:?} {center:?} {longitude} {latitude}");
                    }
                }
            }
        }
        assert!(hits > 5_000, "{hits}");
    }

    #[test]
    fn a_polygon_holds_what_is_between_its_sides() {
        let corners = vec![place(0.0, 0.0), place(10.0, 0.0), place(10.0, 10.0), place(5.0, 2.0), place(0.0, 10.0)];
        let center = Shape::center_of(&corners);
        let shape = Shape::Polygon(corners);
        for (longitude, latitude, is_within) in
            [(1.0, 1.0, true), (9.0, 7.0, true), (5.0, 5.0, false), (-1.0, 1.0, false), (5.0, 1.0, true)]
        {
            let there = place(longitude, latitude);
            let distance = shape.distance_within_m(center, there);
            assert_eq!(distance, is_within.then(|| distance_m(center, there)), "{longitude} {latitude}");
        }
        assert_eq!(shape.bounds(center), Box { latitudes: 0.0..10.0, longitudes: 0.0..10.0 });
    }
}
