//! seccomp: which system calls.
//!
//! A list of what the services use, and everything else is refused with EPERM. Three calls are looked at more closely:
//! `socket` by its family, `clone` so that it makes threads and no processes, `mmap` and `mprotect` so that memory is
//! writable or executable. `clone3` passes its flags where a filter cannot see them: it is answered as unknown, and the C
//! library takes `clone`.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::Network;

/// Restricts the calling thread; the text says why not.
pub(crate) fn restrict(network: Network) -> Result<(), String> {
    let programs = programs(network).map_err(|error| error.to_string())?;
    programs.iter().try_for_each(|program| seccompiler::apply_filter(program).map_err(|error| error.to_string()))
}

fn programs(network: Network) -> Result<[BpfProgram; 2], seccompiler::Error> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = SeccompFilter::new(unknown, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    let known = SeccompFilter::new(rules(network)?, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    Ok([unknown.try_into()?, known.try_into()?])
}

const fn errno(number: c_int) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

fn rules(network: Network) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        PLAIN.iter().chain(OLD).map(|call| (*call, Vec::new())).collect();
    let families: &[c_int] = match network {
        Network::Inherited => &[libc::AF_UNIX],
        Network::Outgoing => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6],
    };
    if network == Network::Outgoing {
        rules.extend([libc::SYS_bind, libc::SYS_listen].map(|call| (call, Vec::new())));
    }
    rules.insert(libc::SYS_socket, any(0, families)?);
    rules.insert(libc::SYS_socketpair, any(0, &[libc::AF_UNIX])?);
    rules.insert(libc::SYS_clone, vec![masked(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?]);
    // Writable or executable: code comes from files, never from data.
    let (write, execute) = (libc::PROT_WRITE, libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![masked(2, execute, 0)?, masked(2, write, 0)?]);
    rules.insert(libc::SYS_mprotect, vec![masked(2, execute, 0)?]);
    rules.insert(libc::SYS_prctl, any(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA])?);
    rules.insert(libc::SYS_ioctl, any(1, TERMINAL_AND_SOCKET)?);
    // Its own limits may be read, nobody's changed.
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![equal(2, 0, SeccompCmpArgLen::Qword)?])?]);
    Ok(rules)
}

fn any(argument: u8, values: &[c_int]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |value: &c_int| {
        let value = u64::from(value.cast_unsigned());
        SeccompRule::new(vec![equal(argument, value, SeccompCmpArgLen::Dword)?])
    };
    values.iter().map(rule).collect()
}

fn equal(argument: u8, value: u64, length: SeccompCmpArgLen) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: c_int, value: c_int) -> Result<SeccompRule, seccompiler::BackendError> {
    let (mask, value) = (u64::from(mask.cast_unsigned()), u64::from(value.cast_unsigned()));
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)?;
    SeccompRule::new(vec![condition])
}

/// Requests of `ioctl` that the libraries make: non-blocking and close-on-exec flags, bytes waiting, "is it a terminal".
const TERMINAL_AND_SOCKET: &[c_int] =
    &[libc::FIONBIO as c_int, libc::FIONREAD as c_int, libc::FIOCLEX as c_int, libc::TCGETS as c_int];

/// System calls that every architecture has and that need no look at their arguments.
const PLAIN: &[c_long] = &[
    // reading and writing what is open
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    // files by name: Landlock says which
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_umask,
    // memory
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // threads and waiting; clone3 is let through to the filter that calls it unknown
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    // sockets: the family is looked at where they are made
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // who and where am I
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// Older forms that the C library still uses on x86-64.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_link,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_chmod,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_getrlimit,
];

/// Others were made without older forms.
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];
