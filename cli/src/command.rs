//! The commands, one module each. Every one returns its exit code and has printed its own answer or error.

mod allow_list;
mod approval;
mod audit;
mod backup;
mod block;
mod cert;
mod check;
mod data_set;
mod distribution;
mod doctor;
mod explain;
mod feasibility;
mod fhir;
mod init;
mod instance;
mod matrix;
mod policy;
mod process;
mod replay;
mod run;
mod source;
mod status;
mod task;
mod user_task;

use crate::admin::AdminError;
use crate::arguments::data_set::DataSet;
use crate::arguments::{
    AllowList, Arguments, Audit, Cert, Command, Feasibility, Fhir, Incident, Instance, Policy, Process, Source, Task,
};
use crate::output::printable;

/// Runs what was typed.
pub(crate) async fn run(arguments: Arguments) -> u8 {
    let format = arguments.format;
    match arguments.command {
        Command::Demo(demo) => crate::demo::run(&demo, format).await,
        Command::Init(init) => init::run(&init, format),
        Command::Run(directory) => run::run(&directory.directory).await,
        Command::Check(check) => check::run(&check, format).await,
        Command::Backup(arguments) => backup::backup(&arguments, format),
        Command::Restore(arguments) => backup::restore(&arguments, format),
        Command::Doctor(doctor) => doctor::run(&doctor, format).await,
        Command::Status(directory) => status::run(&directory.directory, format).await,
        Command::Cert(Cert::Inspect(files)) => cert::inspect(&files.files, format),
        Command::Cert(Cert::Verify(verify)) => cert::verify(&verify, format),
        Command::Matrix(arguments) => matrix::matrix(&arguments, format),
        Command::Diff(arguments) => matrix::diff(&arguments, format),
        Command::Explain(arguments) => explain::run(&arguments, format),
        Command::Replay(arguments) => replay::run(&arguments, format),
        Command::AllowList(AllowList::Diff(arguments)) => allow_list::diff(&arguments, format).await,
        Command::AllowList(AllowList::Apply(arguments)) => allow_list::apply(&arguments, format).await,
        Command::AllowList(AllowList::Rollback(arguments)) => allow_list::rollback(&arguments, format).await,
        Command::AllowList(AllowList::Pending(arguments)) => approval::pending(&arguments, format).await,
        Command::AllowList(AllowList::Approve(arguments)) => approval::approve(&arguments, format).await,
        Command::AllowList(AllowList::Reject(arguments)) => approval::reject(&arguments, format).await,
        Command::AllowList(AllowList::Publish(arguments)) => distribution::publish(&arguments, format).await,
        Command::AllowList(AllowList::Download(arguments)) => distribution::download(&arguments, format).await,
        Command::Policy(Policy::Sign(arguments)) => policy::sign(&arguments, format),
        Command::Policy(Policy::Verify(arguments)) => policy::verify(&arguments, format),
        Command::Policy(Policy::Activate(arguments)) => policy::activate(&arguments, format).await,
        Command::Policy(Policy::Rollback(arguments)) => policy::rollback(&arguments, format).await,
        Command::Block(block) => block::run(&block, format).await,
        Command::Cert(Cert::Thumbprint(files)) => cert::thumbprint(&files.files, format),
        Command::Audit(Audit::Verify(verify)) => audit::verify(&verify, format),
        Command::Audit(Audit::Search(search)) => audit::search(&search, format),
        Command::Audit(Audit::Export(export)) => audit::export(&export),
        Command::Task(Task::Start(start)) => task::start(&start, format).await,
        Command::Task(Task::List(list)) if list.open => user_task::list(&list, format).await,
        Command::Task(Task::List(list)) => task::list(&list, format).await,
        Command::Task(Task::Show(one)) => user_task::show(&one, format).await,
        Command::Task(Task::Answer(answer)) => user_task::answer_task(&answer, format).await,
        Command::Task(Task::Reject(one)) => user_task::reject(&one, format).await,
        Command::Source(Source::Check(directory)) => source::check(&directory.directory, format).await,
        Command::Source(Source::Index(directory)) => source::index(&directory.directory, format),
        Command::Source(Source::Stats(stats)) => source::stats(&stats, format),
        Command::Source(Source::Count(count)) => source::count(&count, format).await,
        Command::DataSet(DataSet::Request(request)) => data_set::request(&request, format).await,
        Command::DataSet(DataSet::Approve(approve)) => data_set::approve(&approve, format).await,
        Command::DataSet(DataSet::Release(release)) => data_set::release(&release, format).await,
        Command::DataSet(DataSet::Fetch(fetch)) => data_set::fetch(&fetch, format).await,
        Command::DataSet(DataSet::Status(status)) => data_set::status(&status, format).await,
        Command::DataSet(DataSet::Withdraw(withdraw)) => data_set::withdraw(&withdraw, format).await,
        Command::DataSet(DataSet::Reidentify(wanted)) => data_set::reidentify(&wanted, format).await,
        Command::DataSet(DataSet::Patient(patient)) => data_set::patient(&patient, format).await,
        Command::Feasibility(Feasibility::Run(arguments)) => feasibility::run(&arguments, format).await,
        Command::Feasibility(Feasibility::Show(arguments)) => feasibility::show(&arguments, format).await,
        Command::Instance(Instance::List(list)) => instance::list(&list, format).await,
        Command::Instance(Instance::Show(one)) => instance::show(&one, format).await,
        Command::Instance(Instance::History(one)) => instance::history(&one, format).await,
        Command::Instance(Instance::Retry(one)) => instance::retry(&one, format).await,
        Command::Instance(Instance::Resolve(resolve)) => instance::resolve(&resolve, format).await,
        Command::Instance(Instance::Cancel(cancel)) => instance::cancel(&cancel, format).await,
        Command::Incident(Incident::List(directory)) => instance::incidents(&directory.directory, format).await,
        Command::Fhir(Fhir::Convert(convert)) => fhir::convert(&convert),
        Command::Fhir(Fhir::Validate(validate)) => fhir::validate(&validate, format),
        Command::Process(Process::List(directory)) => process::list(&directory.directory, format).await,
        Command::Process(Process::Show(one)) => process::show(&one, format).await,
        Command::Process(Process::Install(install)) => process::install::run(&install, format).await,
        Command::Process(Process::Load(directory)) => process::load(&directory.directory, format).await,
        Command::Process(Process::Retire(one)) => process::order(&one, "retired", format).await,
        Command::Process(Process::Exclude(one)) => process::order(&one, "excluded", format).await,
        Command::Process(Process::Activate(one)) => process::order(&one, "active", format).await,
        Command::Process(Process::New(new)) => process::new::run(&new, format),
        Command::Process(Process::Test(test)) => process::test::run(&test, format).await,
        Command::Process(Process::Check(check)) => process::check::run(&check.path, check.simulate, format),
    }
}

/// Prints an error with its causes and gives the exit code.
fn fail(error: &dyn std::error::Error, code: u8) -> u8 {
    eprintln!("schleuse: {}", printable_lines(&error.to_string()));
    let mut cause = error.source();
    while let Some(source) = cause {
        eprintln!("  because: {}", printable_lines(&source.to_string()));
        cause = source.source();
    }
    code
}

/// Text of others must not control the terminal; line breaks of our own texts stay.
fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn fail_admin(error: &AdminError) -> u8 {
    eprintln!("schleuse: {}", printable_lines(&error.to_string()));
    error.exit_code()
}
