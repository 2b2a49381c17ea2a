//! The cameras: capture nodes of the kernel's `vivid`, each looped from an output node that a thread here feeds.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail, ensure};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{FdFlags, fcntl_setfd},
};
use v4l::{
    Control, Device, Format, FourCC,
    buffer::Type,
    control::Value,
    io::{
        mmap::Stream,
        traits::{CaptureStream, OutputStream, Stream as _},
    },
    video::{Capture, Output},
};

use crate::lock;

/// The cameras by name; camera `n` is `/dev/video<n>`, fed through `/dev/video<10 + n>`.
const NAMES: [&str; 4] = ["front", "right", "back", "left"];
/// Buffers of an output node. Each holds a frame that is shown before what is written now.
const BUFFERS: u32 = 3;
/// A frame that has just been put out takes some until it is seen.
const FRAMES_TO_LOOK_AT: usize = 100;
/// How long a device may take to come, or to come back.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// Frames of one panorama by camera.
type Panorama = [Arc<Vec<u8>>; 4];

/// All cameras and what they can show.
pub struct Cameras {
    panoramas: BTreeMap<u32, Panorama>,
    cameras: Vec<Arc<Camera>>,
}

/// One camera.
struct Camera {
    name: &'static str,
    input: PathBuf,
    output: PathBuf,
    size: (u32, u32),
    frame: Mutex<Arc<Vec<u8>>>,
    gone: AtomicBool,
    back: (Mutex<()>, Condvar),
}

impl Cameras {
    /// Reads the frames and begins to feed them, the first panorama first.
    pub fn open(drive: &Path) -> anyhow::Result<Self> {
        let size = fs::read_to_string(drive.join("size")).context("the size of the frames")?;
        let (width, height) = size.trim().split_once('x').context("a size such as 320x240")?;
        let size = (width.parse()?, height.parse()?);
        let mut panoramas = BTreeMap::new();
        for number in 1.. {
            let path = |name: &str| drive.join(format!("{number:06}-{name}.yuyv"));
            if !path(NAMES[0]).exists() {
                break;
            }
            let mut frames: Panorama = Default::default();
            for (frame, name) in frames.iter_mut().zip(NAMES) {
                *frame = Arc::new(fs::read(path(name)).with_context(|| path(name).display().to_string())?);
            }
            panoramas.insert(number, frames);
        }
        let first = panoramas.get(&1).with_context(|| format!("no frames in {}", drive.display()))?;
        let mut cameras = Vec::new();
        for (index, name) in NAMES.into_iter().enumerate() {
            let camera = Arc::new(Camera {
                name,
                input: format!("/dev/video{index}").into(),
                output: format!("/dev/video{}", 10 + index).into(),
                size,
                frame: Mutex::new(Arc::clone(&first[index])),
                gone: AtomicBool::new(false),
                back: Default::default(),
            });
            camera.set(&camera.input, "OSD Text Mode", 2)?;
            camera.set(&camera.input, "Loop Video", 1)?;
            let fed = Arc::clone(&camera);
            thread::spawn(move || {
                if let Err(e) = fed.feed() {
                    println!("guest: the {} camera is not fed any more: {e:#}", fed.name);
                }
            });
            cameras.push(camera);
        }
        Ok(Cameras { panoramas, cameras })
    }

    /// Shows a panorama from now on.
    pub fn show(&self, number: u32) -> anyhow::Result<()> {
        let frames = self.panoramas.get(&number).with_context(|| format!("there is no panorama {number}"))?;
        for (camera, frame) in self.cameras.iter().zip(frames) {
            *lock(&camera.frame) = Arc::clone(frame);
        }
        // By the clock that the program's fixes have.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        println!("guest: shows {number} since {now:.3}");
        Ok(())
    }

    /// Looks through every camera as a program does, and tells whether the very bytes come that were put in.
    pub fn look(&self) -> anyhow::Result<()> {
        for camera in &self.cameras {
            let differing = camera.look()?;
            println!("guest: sees the {} camera, {differing} bytes differ", camera.name);
        }
        Ok(())
    }

    /// Every frame is dropped from now on.
    pub fn stall(&self, name: &str) -> anyhow::Result<()> {
        let camera = self.camera(name)?;
        camera.set(&camera.input, "Percentage of Dropped Buffers", 100)?;
        println!("guest: the {name} camera stalls");
        Ok(())
    }

    /// The device is gone, for whoever has it open too. The kernel brings it back when the last has closed it, and
    /// the feeding thread does not before it is told.
    pub fn unplug(&self, name: &str) -> anyhow::Result<()> {
        let camera = self.camera(name)?;
        camera.gone.store(true, Ordering::SeqCst);
        camera.set(&camera.input, "Disconnect", 1)?;
        println!("guest: the {name} camera is unplugged");
        Ok(())
    }

    /// Ends what was done to a camera.
    pub fn bring_back(&self, name: &str) -> anyhow::Result<()> {
        let camera = self.camera(name)?;
        if camera.gone.load(Ordering::SeqCst) {
            let _guard = lock(&camera.back.0);
            camera.gone.store(false, Ordering::SeqCst);
            camera.back.1.notify_all();
        } else {
            camera.set(&camera.input, "Percentage of Dropped Buffers", 0)?;
        }
        println!("guest: the {name} camera returns");
        Ok(())
    }

    fn camera(&self, name: &str) -> anyhow::Result<&Arc<Camera>> {
        self.cameras.iter().find(|c| c.name == name).with_context(|| format!("there is no {name} camera"))
    }
}

impl Camera {
    /// Puts the frame out again and again, at the pace at which the driver takes frames.
    fn feed(&self) -> anyhow::Result<()> {
        loop {
            let device = self.open()?;
            let ended = self.stream(&device);
            let Err(e) = ended else { bail!("the stream ended") };
            if !self.gone.load(Ordering::SeqCst) {
                return Err(e).with_context(|| self.output.display().to_string());
            }
            // Unplugged. The kernel brings the device back when nobody has it open any more.
            let guard = lock(&self.back.0);
            drop(self.back.1.wait_while(guard, |()| self.gone.load(Ordering::SeqCst)));
        }
    }

    /// Streams until that fails. (`write` would be simpler; vivid in Linux 6.1 takes what it gets that way for empty.)
    fn stream(&self, device: &Device) -> io::Result<()> {
        let mut stream = Stream::with_buffers(device, Type::VideoOutput, BUFFERS)?;
        // All buffers are the driver's at first, or it has none to show while one is being filled.
        (0..BUFFERS as usize).try_for_each(|index| OutputStream::queue(&mut stream, index))?;
        stream.start()?;
        OutputStream::dequeue(&mut stream)?;
        loop {
            let (buffer, about) = OutputStream::next(&mut stream)?;
            let frame = Arc::clone(&lock(&self.frame));
            let Some(room) = buffer.get_mut(..frame.len()) else {
                return Err(io::Error::new(ErrorKind::InvalidData, "a frame of another size"));
            };
            room.copy_from_slice(&frame);
            about.bytesused = frame.len() as u32;
        }
    }

    /// Bytes of a frame that differ from what is shown, at the best of a few frames.
    fn look(&self) -> anyhow::Result<usize> {
        let at = || self.input.display().to_string();
        let device = Device::with_path(&self.input).with_context(at)?;
        let (width, height) = self.size;
        Capture::set_format(&device, &Format::new(width, height, FourCC::new(b"YUYV"))).with_context(at)?;
        let mut stream = Stream::with_buffers(&device, Type::VideoCapture, 4).with_context(at)?;
        stream.set_timeout(PATIENCE);
        let shown = Arc::clone(&lock(&self.frame));
        let mut best = usize::MAX;
        for _ in 0..FRAMES_TO_LOOK_AT {
            let (bytes, about) = CaptureStream::next(&mut stream).with_context(at)?;
            ensure!(about.bytesused as usize == shown.len(), "{}: a frame of {} bytes", at(), about.bytesused);
            best = best.min(bytes.iter().zip(shown.iter()).filter(|(a, b)| a != b).count());
            if best == 0 {
                break;
            }
        }
        Ok(best)
    }

    /// Opens the output node for frames of our size. One that was unplugged needs its time to come back.
    fn open(&self) -> anyhow::Result<Device> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_open() {
                Ok(device) => return Ok(device),
                Err(e) if Instant::now() > until || e.kind() == ErrorKind::InvalidData => {
                    return Err(e).with_context(|| self.output.display().to_string());
                }
                Err(_) => thread::sleep(GLANCE),
            }
        }
    }

    fn try_open(&self) -> io::Result<Device> {
        let device = Device::with_path(&self.output)?;
        for_us(&device)?;
        let (width, height) = self.size;
        let given = Output::set_format(&device, &Format::new(width, height, FourCC::new(b"YUYV")))?;
        if (given.width, given.height, &given.fourcc.repr) != (width, height, b"YUYV") {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("it takes {given} instead")));
        }
        Ok(device)
    }

    /// Sets a control of the driver by its name.
    fn set(&self, path: &Path, name: &str, value: i64) -> anyhow::Result<()> {
        let device = Device::with_path(path).with_context(|| path.display().to_string())?;
        let controls = device.query_controls().with_context(|| format!("the controls of {}", path.display()))?;
        let Some(control) = controls.iter().find(|c| c.name == name) else {
            let names: Vec<&str> = controls.iter().map(|c| c.name.as_str()).collect();
            bail!("{} has no control {name:?}, but {}", path.display(), names.join(", "));
        };
        device
            .set_control(Control { id: control.id, value: Value::Integer(value) })
            .with_context(|| format!("{name:?} of {}", path.display()))
    }
}

/// Makes calls to a device wait until it is ready, and keeps it from the program that is started here. The crate opens
/// devices for those who wait otherwise, and its output stream fails then whenever a buffer is not done at once.
#[allow(unsafe_code)]
fn for_us(device: &Device) -> io::Result<()> {
    let handle = device.handle();
    // SAFETY: the descriptor is that of `handle`, which closes it when it is dropped, after this borrow ends. The crate
    // gives no safe access to it.
    let fd = unsafe { BorrowedFd::borrow_raw(handle.fd()) };
    fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    let flags = fcntl_getfl(fd)?;
    Ok(fcntl_setfl(fd, flags - OFlags::NONBLOCK)?)
}
