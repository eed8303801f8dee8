package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/pflag"
)

// passPrefix is the prefix of environment variables that are passed to the guest.
const passPrefix = "OVERLAYZFS_"

// machineFlags are the flags of every command that boots a machine.
type machineFlags struct {
	suite    string
	machine  string
	timeout  time.Duration
	memory   string
	cpus     int
	poolSize string
	pool     string
	keepPool string
	appends  []string
	leaks    bool
	console  string
	env      []string
	files    []string
	outs     []string
}

func (f *machineFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.suite, "suite", vm.DefaultSuite, "guest to boot")
	addMachine(flags, &f.machine)
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "hard time limit; 0 for none")
	flags.StringVar(&f.memory, "memory", "6G", "memory of the machine")
	flags.IntVar(&f.cpus, "cpus", 0, "processors of the machine; by default 1 under User-Mode Linux, 2 otherwise")
	flags.StringVar(&f.poolSize, "pool-size", "20G", "size of the pool disk, a sparse file")
	flags.StringVar(&f.pool, "pool", "auto", `"auto" makes the pool tank on /dev/vdb, or imports it; "none" leaves the disk bare`)
	flags.StringVar(&f.keepPool, "keep-pool", "", "file of a pool disk that outlives the machine")
	flags.StringArrayVar(&f.appends, "append", nil, "more words for the kernel's command line")
	flags.BoolVar(&f.leaks, "check-leaks", false, "fail when the program leaves a mount, dataset, loop device or process behind")
	flags.StringVar(&f.console, "console", "", "file for the kernel's messages")
	flags.StringArrayVar(&f.env, "env", nil, "environment variable NAME=VALUE for the program; "+passPrefix+"* are passed anyway")
	flags.StringArrayVar(&f.files, "file", nil, "file or directory to copy in, HOST:GUEST; GUEST is relative to "+vm.JobDir)
	flags.StringArrayVar(&f.outs, "out", nil, "file or directory to hand back, GUEST:HOST")
}

// addMachine adds the flag that chooses the kind of machine.
func addMachine(flags *pflag.FlagSet, machine *string) {
	flags.StringVar(machine, "machine", "",
		"kvm, uml (User-Mode Linux), qemu (emulated) or auto, the first that works (default $"+vm.MachineVariable+", or auto)")
}

// run boots a machine for the job, to which it adds what the flags say.
func (f *machineFlags) run(ctx context.Context, job *vm.Job, terminal bool) error {
	if err := f.complete(job); err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	options.Terminal = terminal
	lab, err := vm.Open(f.suite)
	if err != nil {
		return err
	}
	guest, choice, err := lab.Prepare(ctx, options.Machine, os.Stderr)
	if err != nil {
		return err
	}
	options.Note(choice.String())
	// The limit is the machine's: a first build takes as long as it takes.
	options.Limit = f.timeout
	code, err := guest.Run(ctx, options, job, os.Stdout, os.Stderr)
	switch {
	case ctx.Err() != nil && err != nil:
		return errors.New("interrupted, the machine was switched off")
	case err != nil:
		return err
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// complete adds files and environment to the job.
func (f *machineFlags) complete(job *vm.Job) error {
	job.Env = map[string]string{}
	for _, variable := range append(os.Environ(), f.env...) {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, passPrefix) {
			job.Env[name] = value
		}
	}
	for _, variable := range f.env {
		name, value, found := strings.Cut(variable, "=")
		if !found {
			return fmt.Errorf("--env %s: want NAME=VALUE", variable)
		}
		job.Env[name] = value
	}
	for _, pair := range f.files {
		host, guest, found := strings.Cut(pair, ":")
		if !found {
			return fmt.Errorf("--file %s: want HOST:GUEST", pair)
		}
		job.Files = append(job.Files, vm.File{Host: host, Guest: guest})
	}
	for _, pair := range f.outs {
		guest, host, found := strings.Cut(pair, ":")
		if !found {
			return fmt.Errorf("--out %s: want GUEST:HOST", pair)
		}
		job.Outs = append(job.Outs, vm.Out{Guest: guest, Host: host})
	}
	job.Merge = sameFile(os.Stdout, os.Stderr)
	return nil
}

// sameFile tells whether both streams end up in one place, as under go test
// and on a terminal: then their order is worth keeping.
func sameFile(a, b *os.File) bool {
	first, err := a.Stat()
	if err != nil {
		return false
	}
	second, err := b.Stat()
	return err == nil && os.SameFile(first, second)
}

func (f *machineFlags) options() (vm.Options, error) {
	size, err := parseSize(f.poolSize)
	if err != nil {
		return vm.Options{}, fmt.Errorf("--pool-size: %w", err)
	}
	mode := vm.PoolMode(f.pool)
	if mode != vm.PoolAuto && mode != vm.PoolNone {
		return vm.Options{}, fmt.Errorf("--pool %s: want auto or none", f.pool)
	}
	kind, err := vm.ParseKind(f.machine)
	if err != nil {
		return vm.Options{}, fmt.Errorf("--machine: %w", err)
	}
	return vm.Options{
		Machine: kind,
		Note:    func(line string) { fmt.Fprintln(os.Stderr, "ozlab:", line) },
		Memory:  f.memory, CPUs: f.cpus, Pool: mode, PoolSize: size, KeepPool: f.keepPool,
		Append: f.appends, CheckLeaks: f.leaks, Console: f.console,
	}, nil
}

// parseSize reads a number of bytes with an optional K, M, G or T.
func parseSize(text string) (int64, error) {
	shift := 0
	number := text
	if at := strings.IndexAny(text, "KMGT"); at >= 0 && at == len(text)-1 {
		number, shift = text[:at], 10*(1+strings.IndexByte("KMGT", text[at]))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%q is no size: want a number with K, M, G or T", text)
	}
	return n << shift, nil
}
