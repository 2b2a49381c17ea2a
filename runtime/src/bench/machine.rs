//! What the system tells of the machine that a bench ran on. Whatever it does not tell is `None`: nothing is guessed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Pause between two looks at a sensor of power.
const SENSOR_PAUSE: Duration = Duration::from_millis(100);
/// Bits of the Raspberry Pi's firmware: now under-voltage, frequency capped, throttled, at the soft temperature limit.
const PI_NOW: u32 = 0xf;
/// The same since it was switched on.
const PI_SINCE: u32 = 0xf << 16;
/// What Jetsons call the rail that feeds the whole board.
const JETSON_RAIL: &str = "VDD_IN";
/// Processors of ARM's architecture, which the system names by numbers: the maker's and the part's.
const ARM_PARTS: [(u32, u32, &str); 21] = [
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd04, "Cortex-A35"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd09, "Cortex-A73"),
    (0x41, 0xd0a, "Cortex-A75"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd0c, "Neoverse-N1"),
    (0x41, 0xd0d, "Cortex-A77"),
    (0x41, 0xd40, "Neoverse-V1"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd42, "Cortex-A78AE"),
    (0x41, 0xd44, "Cortex-X1"),
    (0x41, 0xd46, "Cortex-A510"),
    (0x41, 0xd47, "Cortex-A710"),
    (0x41, 0xd49, "Neoverse-N2"),
    (0x41, 0xd4f, "Neoverse-V2"),
    (0x41, 0xd80, "Cortex-A520"),
    (0x4e, 0x003, "Denver 2"),
    (0x4e, 0x004, "Carmel"),
];

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// What the board's device tree says, as "Raspberry Pi 5 Model B Rev 1.0".
    pub hardware: Option<String>,
    /// The processor as the system names it.
    pub processor: Option<String>,
    /// Processors that are on.
    pub cores: Option<usize>,
    /// The system's kernel.
    pub os: Option<String>,
    /// How the processor's clock is governed.
    pub governor: Option<String>,
    /// Memory of the machine.
    pub ram_mb: Option<u64>,
}

/// The root of the system's own files; another one in tests.
#[derive(Clone, Debug)]
pub struct System(PathBuf);

impl Default for System {
    fn default() -> Self {
        System("/".into())
    }
}

impl System {
    /// The machine.
    pub fn machine(&self) -> Machine {
        let device_tree = self.line("proc/device-tree/model").map(|m| m.trim_end_matches('\0').to_owned());
        Machine {
            hardware: device_tree,
            processor: self.arm_processor().or_else(|| self.field("proc/cpuinfo", "model name")),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            os: self.line("proc/sys/kernel/osrelease"),
            governor: self.line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            ram_mb: self.field("proc/meminfo", "MemTotal").and_then(|t| kilobytes(&t)).map(|kb| (kb / 1024.0) as u64),
        }
    }

    /// Largest memory that this process had.
    pub fn peak_rss_mb(&self) -> Option<f64> {
        self.field("proc/self/status", "VmHWM").and_then(|t| kilobytes(&t)).map(|kb| kb / 1024.0)
    }

    /// The kinds of its processors, as numbers where their names are not known here.
    fn arm_processor(&self) -> Option<String> {
        let text = fs::read_to_string(self.0.join("proc/cpuinfo")).ok()?;
        let values = |name: &str| -> Vec<u32> {
            let fields = text.lines().filter_map(|line| line.split_once(':')).filter(|(n, _)| n.trim() == name);
            fields.filter_map(|(_, value)| u32::from_str_radix(value.trim().strip_prefix("0x")?, 16).ok()).collect()
        };
        let mut kinds: Vec<String> = Vec::new();
        for (maker, part) in values("CPU implementer").into_iter().zip(values("CPU part")) {
            let known = ARM_PARTS.iter().find(|(m, p, _)| (*m, *p) == (maker, part));
            let kind = known.map_or_else(|| format!("maker {maker:#x} part {part:#x}"), |known| known.2.to_owned());
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        (!kinds.is_empty()).then(|| kinds.join(" + "))
    }

    /// The hottest of the system's sensors.
    pub fn temperature_c(&self) -> Option<f64> {
        let zones = self.entries("sys/class/thermal", "thermal_zone");
        let degrees = zones.iter().filter_map(|zone| number(&zone.join("temp"))).map(|t| t / 1000.0);
        degrees.reduce(f64::max)
    }

    /// What is told of throttling until now.
    fn throttling(&self) -> Option<Throttling> {
        // soc/soc:firmware, and on a Pi 5 with an address behind both names.
        let firmware = self.entries("sys/devices/platform", "soc").into_iter().find_map(|soc| {
            let nodes = fs::read_dir(soc).ok()?.filter_map(|e| Some(e.ok()?.path()));
            let mut firmware = nodes.filter(|node| node.to_string_lossy().ends_with(":firmware"));
            firmware.find_map(|node| first_line(&node.join("get_throttled")))
        });
        if let Some(bits) = firmware.and_then(|t| u32::from_str_radix(t.trim_start_matches("0x"), 16).ok()) {
            return Some(Throttling::Bits(bits));
        }
        let counts = self.entries("sys/devices/system/cpu", "cpu").into_iter().filter_map(|cpu| {
            let count = |kind: &str| number(&cpu.join(format!("thermal_throttle/{kind}_throttle_count")));
            Some(count("core")? + count("package").unwrap_or(0.0))
        });
        counts.reduce(|a, b| a + b).map(Throttling::Count)
    }

    /// Micro-joules so far, where the processor counts them (RAPL).
    fn counted_uj(&self) -> Option<f64> {
        let packages = self.entries("sys/class/powercap", "intel-rapl:");
        let whole = packages.iter().filter(|p| p.to_string_lossy().matches(':').count() == 1);
        whole.filter_map(|p| number(&p.join("energy_uj"))).reduce(|a, b| a + b)
    }

    /// Watts now, as a sensor of the INA family tells that measures the whole board: the rail of a Jetson that is known to
    /// feed it, or the only one that has a single channel. Several measure parts, and other sensors something else.
    fn watts(&self) -> Option<f64> {
        let mut sensors = self.entries("sys/class/hwmon", "hwmon");
        sensors.retain(|sensor| first_line(&sensor.join("name")).is_some_and(|name| name.starts_with("ina")));
        let rail = |sensor: &PathBuf| {
            (1..=3).find_map(|channel| {
                let label = first_line(&sensor.join(format!("in{channel}_label")))?;
                let value = |kind: &str| number(&sensor.join(format!("{kind}{channel}_input")));
                // Millivolts, milliamperes.
                if label.starts_with(JETSON_RAIL) { Some(value("in")? * value("curr")? * 1e-6) } else { None }
            })
        };
        sensors.iter().find_map(rail).or_else(|| {
            let mut single = sensors.iter().filter_map(|sensor| number(&sensor.join("power1_input")));
            let microwatts = single.next()?;
            single.next().is_none().then_some(microwatts * 1e-6)
        })
    }

    /// Begins to watch energy, temperature and throttling.
    pub fn watch(&self) -> Watch {
        let (system, over) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let flag = over.clone();
        // Only where there is no counter: a thread that wakes up ten times a second costs what it measures.
        let sampled = self.counted_uj().is_none() && self.watts().is_some();
        let sampler = sampled.then(|| std::thread::spawn(move || system.mean_watts(&flag)));
        Watch {
            system: self.clone(),
            started: Instant::now(),
            temperature_c: self.temperature_c(),
            throttling: self.throttling(),
            counted_uj: self.counted_uj(),
            over,
            sampler,
        }
    }

    fn mean_watts(&self, over: &AtomicBool) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        loop {
            sum += self.watts()?;
            count += 1.0;
            if over.load(Ordering::Relaxed) {
                return Some(sum / count);
            }
            std::thread::sleep(SENSOR_PAUSE);
        }
    }

    fn line(&self, path: &str) -> Option<String> {
        first_line(&self.0.join(path))
    }

    fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join(path)).ok()?;
        let line = text.lines().find(|l| l.split(':').next().is_some_and(|n| n.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }

    /// Entries of a directory whose names begin like this, in the order of their names.
    fn entries(&self, folder: &str, prefix: &str) -> Vec<PathBuf> {
        let named = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
        let all = fs::read_dir(self.0.join(folder)).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
        let mut entries: Vec<PathBuf> = all.filter(named).collect();
        entries.sort();
        entries
    }
}

/// What a system tells of throttling.
#[derive(Clone, Copy, Debug)]
enum Throttling {
    /// The Raspberry Pi's firmware: now, and since it was switched on.
    Bits(u32),
    /// How often.
    Count(f64),
}

impl Throttling {
    /// Whether there was some since then, or is. What a Pi had before, and had again in between, cannot be seen.
    fn newer_than(self, before: Throttling) -> bool {
        match (before, self) {
            (Throttling::Bits(before), Throttling::Bits(after)) => {
                (before | after) & PI_NOW != 0 || after & !before & PI_SINCE != 0
            }
            (Throttling::Count(before), Throttling::Count(after)) => after > before,
            _ => false,
        }
    }
}

/// Sensors that are being watched.
pub struct Watch {
    system: System,
    started: Instant,
    temperature_c: Option<f64>,
    throttling: Option<Throttling>,
    counted_uj: Option<f64>,
    over: Arc<AtomicBool>,
    sampler: Option<JoinHandle<Option<f64>>>,
}

/// What the sensors said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Temperature before and after.
    pub temperature_c: [Option<f64>; 2],
    /// Whether the processor was throttled meanwhile.
    pub throttled: Option<bool>,
    /// Energy meanwhile.
    pub joules: Option<f64>,
}

impl Watch {
    /// Ends it.
    pub fn end(self) -> Seen {
        let seconds = self.started.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        let watts = self.sampler.and_then(|sampler| sampler.join().ok().flatten());
        let counted = self.counted_uj.zip(self.system.counted_uj());
        // A counter that began anew says nothing.
        let counted = counted.and_then(|(before, after)| (after >= before).then_some((after - before) * 1e-6));
        let throttled = self.throttling.zip(self.system.throttling()).map(|(before, after)| after.newer_than(before));
        Seen {
            temperature_c: [self.temperature_c, self.system.temperature_c()],
            throttled,
            joules: counted.or(watts.map(|w| w * seconds)),
        }
    }
}

fn first_line(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

fn number(path: &Path) -> Option<f64> {
    first_line(path)?.parse().ok()
}

fn kilobytes(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let system = System(dir.path().to_owned());
        (dir, system)
    }

    #[test]
    fn a_jetson_tells_its_model_its_hottest_zone_and_the_power_of_the_whole_board() {
        let (_dir, system) = system(&[
            ("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0"),
            ("proc/meminfo", "MemFree: 3 kB\nMemTotal:        7802024 kB\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48250\n"),
            ("sys/class/thermal/thermal_zone1/temp", "51000\n"),
            ("sys/class/thermal/cooling_device0/temp", "99000\n"),
            ("sys/class/hwmon/hwmon0/name", "amdgpu\n"),
            ("sys/class/hwmon/hwmon0/power1_input", "55000000\n"),
            ("sys/class/hwmon/hwmon1/name", "ina3221\n"),
            ("sys/class/hwmon/hwmon1/in1_label", "VDD_CPU_GPU_CV\n"),
            ("sys/class/hwmon/hwmon1/in1_input", "5000\n"),
            ("sys/class/hwmon/hwmon1/curr1_input", "400\n"),
            ("sys/class/hwmon/hwmon1/in2_label", "VDD_IN\n"),
            ("sys/class/hwmon/hwmon1/in2_input", "5000\n"),
            ("sys/class/hwmon/hwmon1/curr2_input", "1600\n"),
        ]);
        let machine = system.machine();
        assert_eq!(machine.hardware.as_deref(), Some("NVIDIA Jetson Orin Nano Developer Kit"));
        assert_eq!((machine.ram_mb, machine.governor), (Some(7619), None));
        let watch = system.watch();
        std::thread::sleep(Duration::from_millis(30));
        let seconds = watch.started.elapsed().as_secs_f64();
        let seen = watch.end();
        assert_eq!(seen.temperature_c, [Some(51.0); 2]);
        assert!((seen.joules.unwrap() / seconds - 8.0).abs() < 4.0, "8 W: {seen:?} in {seconds} s");
        assert_eq!(seen.throttled, None, "this system does not tell");
    }

    #[test]
    fn a_raspberry_tells_whether_it_is_throttled_and_a_pc_how_often_it_was() {
        // A Pi 4's, and a Pi 5's.
        for node in ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"] {
            let node = format!("sys/devices/platform/{node}/get_throttled");
            let (dir, pi) = system(&[(&node, "50000\n")]);
            assert_eq!(pi.watch().end().throttled, Some(false), "it was, before this bench");
            for (now, throttled) in [("50005", true), ("70000", true), ("50000", false)] {
                let watch = pi.watch();
                fs::write(dir.path().join(&node), now).unwrap();
                assert_eq!(watch.end().throttled, Some(throttled), "{now}");
                fs::write(dir.path().join(&node), "50000").unwrap();
            }
        }

        let count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count";
        let energy = "sys/class/powercap/intel-rapl:0/energy_uj";
        let (dir, pc) =
            system(&[(count, "3\n"), (energy, "1000000\n"), ("sys/class/powercap/intel-rapl:0:0/energy_uj", "5\n")]);
        let watch = pc.watch();
        fs::write(dir.path().join(energy), "3500000\n").unwrap();
        let seen = watch.end();
        assert_eq!((seen.throttled, seen.joules), (Some(false), Some(2.5)));
        let watch = pc.watch();
        fs::write(dir.path().join(count), "4\n").unwrap();
        fs::write(dir.path().join(energy), "7\n").unwrap();
        let seen = watch.end();
        assert_eq!((seen.throttled, seen.joules), (Some(true), None), "the counter began anew");
    }

    #[test]
    fn arm_processors_are_named_by_their_kinds() {
        let cpu = |part: &str| {
            format!(
                "model name : ARMv8 Processor rev 1 (v8l)\nCPU implementer\t: 0x41\nCPU variant : 0x4\nCPU part\t: {part}\n"
            )
        };
        for (parts, name) in [
            (&["0xd0b", "0xd0b"][..], "Cortex-A76"),
            (&["0xd05", "0xd0b", "0xd0b"], "Cortex-A55 + Cortex-A76"),
            (&["0xfff"], "maker 0x41 part 0xfff"),
        ] {
            let text: String = parts.iter().map(|part| cpu(part)).collect();
            let (_dir, system) = system(&[("proc/cpuinfo", &(text + "Model : Raspberry Pi 5 Model B Rev 1.0\n"))]);
            assert_eq!(system.machine().processor.as_deref(), Some(name));
        }
    }

    #[test]
    fn the_only_sensor_of_power_is_the_boards_and_several_are_not() {
        let sensor = |i: usize, name: &str| {
            let file = |file: &str| format!("sys/class/hwmon/hwmon{i}/{file}");
            [(file("name"), name.to_owned()), (file("power1_input"), "4000000".to_owned())]
        };
        for (names, watts) in [(&["ina226"][..], Some(4.0)), (&["ina226", "ina226"], None), (&["amdgpu"], None)] {
            let files: Vec<(String, String)> = names.iter().enumerate().flat_map(|(i, n)| sensor(i, n)).collect();
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
            let (_dir, system) = system(&files);
            assert_eq!(system.watts(), watts, "{names:?}");
        }
    }
}
