// Package vm is the lab: throw-away machines with a Debian root disk, OpenZFS
// and Docker, in which the project's tests run as root.
//
// A [Suite] is data: a file under suites/ says which Debian release and which
// packages a guest is made of. [Lab.Prepare] turns it into a [Guest] once, in
// steps that are kept in a cache; [Guest.Start] boots one throw-away machine
// that runs one [Job] and hands back its output, its exit code and its files.
//
// What is tested in the machines does not live here: tests bring it as a job.
package vm
