//! `/init` of the appliance, the first program that the kernel starts.
//!
//! The kernel has unpacked one archive into memory: this program, the modules of the kernel and the read-only system as one
//! EROFS file. Stage 0 loads the listed modules, closes the kernel for further ones, mounts the system and hands over to
//! systemd. It decides nothing and reads nothing from a disk: everything it uses is covered by the signature over the image.
//! A module for hardware that is not there is passed over; what makes the system impossible is said on the console, and
//! the kernel then restarts the machine (`panic=` on its command line).

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};

/// The read-only system, and where it is mounted before it becomes the root.
const SYSTEM_FILE: &str = "/system.erofs";
const SYSTEM: &str = "/system";
/// Modules in the order in which they can be loaded, one file name a line.
const MODULES: &str = "/modules";
const ORDER: &str = "/modules/order";
const INIT: &str = "/usr/lib/systemd/systemd";
/// What the boot stub says of measurements: the signature over them, and the key of that signature.
const MEASUREMENT: [&str; 2] = ["tpm2-pcr-signature.json", "tpm2-pcr-public-key.pem"];
/// Longest of these files; they have a few kilobytes.
const MEASUREMENT_BYTES: u64 = 64 * 1024;

fn main() {
    let error = match start() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("schleuse: this machine cannot start the appliance: {error}");
    eprintln!("schleuse: give it at least 512 MiB of memory; if that does not help, write the image anew");
}

fn start() -> Result<std::convert::Infallible, String> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(target).map_err(|error| format!("{target}: {error}"))?;
        mount(kind, target, kind, MountFlags::NOSUID | MountFlags::NOEXEC, None)
            .or_else(|error| if error == Errno::BUSY { Ok(()) } else { Err(error) })
            .map_err(|error| format!("mount {target}: {error}"))?;
    }
    let order = fs::read_to_string(ORDER).map_err(|error| format!("{ORDER}: {error}"))?;
    for name in order.lines().filter(|line| !line.is_empty()) {
        if let Err(error) = load(name)
            // Hardware that is not there, or built in.
            && ![Errno::NODEV, Errno::EXIST, Errno::NXIO].contains(&error)
        {
            eprintln!("schleuse: module {name}: {error}");
        }
    }
    fs::write("/proc/sys/kernel/modules_disabled", "1").map_err(|error| format!("close the kernel: {error}"))?;

    fs::create_dir_all(SYSTEM).map_err(|error| format!("{SYSTEM}: {error}"))?;
    mount(SYSTEM_FILE, SYSTEM, "erofs", MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID, None)
        .map_err(|error| format!("mount {SYSTEM_FILE}: {error}"))?;
    let options = CString::new("mode=0755,size=20%").map_err(|error| error.to_string())?;
    mount("run", "/system/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .map_err(|error| format!("mount /run: {error}"))?;
    for folder in ["/dev", "/sys", "/proc"] {
        mount_move(folder, format!("{SYSTEM}{folder}")).map_err(|error| format!("move {folder}: {error}"))?;
    }
    hand_on_measurement();
    // Memory that nobody reads again; the file of the system stays, it is what is mounted.
    for gone in [MODULES, "/usr", "/.extra"] {
        let _ = fs::remove_dir_all(gone);
    }
    std::env::set_current_dir(SYSTEM).map_err(|error| format!("{SYSTEM}: {error}"))?;
    mount_move(".", "/").map_err(|error| format!("move the root: {error}"))?;
    rustix::process::chroot(".").map_err(|error| format!("enter the root: {error}"))?;
    std::env::set_current_dir("/").map_err(|error| format!("enter the root: {error}"))?;
    Err(format!("{INIT}: {}", Command::new(INIT).env_clear().exec()))
}

/// The boot stub brings along which measurements of the TPM the builder of this system has signed. Where it does not, the
/// data disk needs its other key.
fn hand_on_measurement() {
    for name in MEASUREMENT {
        let from = Path::new("/.extra").join(name);
        if !from.exists() {
            continue;
        }
        let to = Path::new(SYSTEM).join("run/systemd");
        let copied = fs::create_dir_all(&to).and_then(|()| {
            let mut text = Vec::new();
            File::open(&from)?.take(MEASUREMENT_BYTES).read_to_end(&mut text)?;
            fs::write(to.join(name), text)
        });
        if let Err(error) = copied {
            eprintln!("schleuse: {name}: {error}");
        }
    }
}

fn load(name: &str) -> Result<(), Errno> {
    let file = File::open(Path::new(MODULES).join(name)).map_err(|_| Errno::NOENT)?;
    rustix::system::finit_module(&file, c"", 0)
}
