//! The four outer planets and the sun under gravity, by the symplectic first-order integrator of the Computer
//! Language Benchmarks Game (n-body), whose published energies are the test.

const SOLAR_MASS: f64 = 4.0 * std::f64::consts::PI * std::f64::consts::PI;
const DAYS_PER_YEAR: f64 = 365.24;
const STEP_YEARS: f64 = 0.01;

/// The largest size accepted, in steps.
pub const SIZE_MAX: u32 = 100_000_000;

#[derive(Clone, Copy, Debug)]
struct Body {
    position: [f64; 3],
    velocity: [f64; 3],
    mass: f64,
}

/// Advances the system by `size` steps of 0.01 years. The checksum is the bit pattern of the total energy.
pub fn run(size: u32) -> u64 {
    let mut bodies = solar_system();
    for _ in 0..size {
        advance(&mut bodies);
    }
    energy(&bodies).to_bits()
}

fn body(position: [f64; 3], velocity_per_day: [f64; 3], solar_masses: f64) -> Body {
    Body {
        position,
        velocity: velocity_per_day.map(|value| value * DAYS_PER_YEAR),
        mass: solar_masses * SOLAR_MASS,
    }
}

/// Positions in astronomical units, from the Benchmarks Game. The sun moves so that the total momentum is zero.
#[expect(clippy::excessive_precision, reason = "the digits as published")]
#[rustfmt::skip]
fn solar_system() -> [Body; 5] {
    let mut bodies = [
        body([0.0; 3], [0.0; 3], 1.0),
        body(
            [4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01],
            [1.66007664274403694e-03, 7.69901118419740425e-03, -6.90460016972063023e-05],
            9.54791938424326609e-04,
        ),
        body(
            [8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01],
            [-2.76742510726411899e-03, 4.99852801234917238e-03, 2.30417297573763929e-05],
            2.85885980666130812e-04,
        ),
        body(
            [1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01],
            [2.96460137564761618e-03, 2.37847173959480950e-03, -2.96589568540237556e-05],
            4.36624404335156298e-05,
        ),
        body(
            [1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01],
            [2.68067772490389322e-03, 1.62824170038242295e-03, -9.51592254519715870e-05],
            5.15138902046611451e-05,
        ),
    ];
    let mut momentum = [0.0; 3];
    for planet in &bodies {
        for (sum, velocity) in momentum.iter_mut().zip(planet.velocity) {
            *sum += velocity * planet.mass;
        }
    }
    bodies[0].velocity = momentum.map(|value| -value / SOLAR_MASS);
    bodies
}

fn advance(bodies: &mut [Body; 5]) {
    for index in 0..bodies.len() {
        let (head, tail) = bodies.split_at_mut(index + 1);
        let one = &mut head[index];
        for other in tail {
            let d = difference(one.position, other.position);
            let distance_squared = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
            let magnitude = STEP_YEARS / (distance_squared * distance_squared.sqrt());
            for (axis, value) in d.into_iter().enumerate() {
                one.velocity[axis] -= value * other.mass * magnitude;
                other.velocity[axis] += value * one.mass * magnitude;
            }
        }
    }
    for body in bodies {
        for (position, velocity) in body.position.iter_mut().zip(body.velocity) {
            *position += STEP_YEARS * velocity;
        }
    }
}

fn energy(bodies: &[Body; 5]) -> f64 {
    let mut energy = 0.0;
    for (index, one) in bodies.iter().enumerate() {
        let v = one.velocity;
        energy += 0.5 * one.mass * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        for other in &bodies[index + 1..] {
            let d = difference(one.position, other.position);
            energy -= one.mass * other.mass / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
        }
    }
    energy
}

fn difference(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_energies() {
        assert_eq!(format!("{:.9}", energy(&solar_system())), "-0.169075164");
        assert_eq!(format!("{:.9}", f64::from_bits(run(1000))), "-0.169087605");
    }
}
