// Package vm is the lab: throw-away machines with a Debian root disk, OpenZFS
// and Docker, in which the project's tests run as root.
//
// A [Suite] is data: a file under suites/ names a Debian release and the packages
// that a guest is made of. [Lab.Prepare] turns it into a [Guest] once, in steps
// that a cache keeps. [Guest.Start] boots one machine, which runs one [Job] and
// hands back its output, its exit code and its files. What is tested in the
// machines lives elsewhere: tests bring it as a job.
//
// # Building
//
//   - lab.go: what is built for which kind of machine; suite.go, sources.go: the data
//   - build.go, image.go, drivers.go, cpio.go: a guest's root disk and stock kernel
//   - umlbuild.go: the User-Mode Linux kernel
//   - step.go, host.go, emulator.go, progress.go: cached steps, and what the host lacks
//
// # Running
//
//   - kind.go, accel.go: which kind of machine works here
//   - options.go, job.go, gotest.go: what a caller asks for
//   - machine.go: a machine's life; hardware.go, pool.go, machinedir.go: its files;
//     processor.go: its processors; process.go: its process
//   - qemu.go, uml.go: its command line
//   - stream.go, report.go, outs.go: what comes back
package vm
