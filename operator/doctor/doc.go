// Package doctor examines whether a host is fit for overlayzfs. Each Finding says what
// was found, why it matters and what to do.
//
// The package has two separate halves. The Gather methods read the system and judge
// nothing. Examine judges Facts and reads nothing, so every check is tested with the
// facts of a host that has the fault.
//
//	facts.go     Facts: the input of Examine
//	gather.go    reads the kernel, memory, disks and the dataset
//	units.go     reads systemd's units, and judges the order at boot
//	engine.go    asks dockerd for what is judged
//	probe.go     RunProbe: tries overlayfs and limits on a scratch dataset
//	finding.go   Finding, Examine
//	kernel.go, pool.go, dataset.go, docker.go, store.go   the checks by subject
//	versions.go  what is known of versions of Linux, OpenZFS and Docker
//
// The facts about versions come from OpenZFS's releases: Linux-Maximum in META, and the
// commits that fixed a defect.
package doctor
