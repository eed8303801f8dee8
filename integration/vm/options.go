package vm

import "time"

// Options are the hardware of one machine. Zero values mean the defaults.
type Options struct {
	// Machine is what runs the guest; the best that works here by default.
	Machine Kind
	Memory  string // a number with M or G; 6G
	// CPUs is the number of processors; by default one under User-Mode Linux,
	// and otherwise two, as far as the host has them.
	CPUs int
	// Limit ends the machine, counted from when it has its processors; none by default.
	Limit time.Duration
	// Note takes a line about the machine that a person should see.
	Note func(line string)
	Pool PoolMode
	// PoolSize of a new pool disk in bytes; 20 GiB, as a sparse file.
	PoolSize int64
	// KeepPool is the pool disk's file. It outlives the machine, and a pool on
	// it is imported by the next one.
	KeepPool string
	// CheckLeaks fails the job (exit code 3, with a list on standard error) when
	// it leaves a mount, dataset, loop device or process behind.
	CheckLeaks bool
	// Append are more words for the kernel's command line.
	Append []string
	// Console is the file for the kernel's messages; none by default.
	Console string
	// Terminal connects the process's own standard input and output with
	// /dev/hvc0 of the guest.
	Terminal bool
}

func (o Options) applyDefaults() Options {
	if o.Memory == "" {
		o.Memory = "6G"
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Pool == "" {
		o.Pool = PoolAuto
	}
	if o.PoolSize == 0 {
		o.PoolSize = 20 << 30
	}
	return o
}
