package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// settleTime is how long a machine with a kept pool may take to export it.
const settleTime = 40 * time.Second

// Machine is a running guest. It ends with its job, when it is killed, or with
// the context it was started with. Wait must be called.
type Machine struct {
	job        *Job
	choice     Choice
	suite      string
	keep       bool
	dir        string // of its own, removed in the end
	inUse      *os.File
	processors *Processors
	cause      func() error // of the end of its context
	cancel     context.CancelFunc
	console    string
	hardware   hardware
	end        []byte // of each stream
	process    *exec.Cmd
	group      bool          // the process leads a process group
	exited     chan struct{} // closed when the process has ended
	ready      chan struct{} // closed when the job begins
	ports      [portCount]*os.File
	report     report
	streams    sync.WaitGroup
}

// report is what the ports told. Each field has one writer; they are read when
// all streams have ended.
type report struct {
	control          control
	outDone, errDone bool
	outErr, errErr   error
	filesDone        bool
	filesErr         error
}

// Run boots a machine for a job and waits for it.
func (g *Guest) Run(ctx context.Context, options Options, job *Job, stdout, stderr io.Writer) (int, error) {
	machine, err := g.Start(ctx, options, job, stdout, stderr)
	if err != nil {
		return 0, err
	}
	return machine.Wait()
}

// Start boots a machine for a job, and returns when the job begins or cannot
// any more. It waits for processors that no other machine of the lab holds. The
// job's output goes to stdout and stderr as it comes. The end of ctx ends the
// machine like [Machine.Kill].
//
// An emulated kernel now and then hangs or dies while it comes up. The job has
// seen nothing of it then, so it is booted again.
func (g *Guest) Start(ctx context.Context, options Options, job *Job, stdout, stderr io.Writer) (*Machine, error) {
	options = options.applyDefaults()
	choice, err := g.Choose(ctx, options.Machine)
	if err != nil {
		return nil, err
	}
	m := &Machine{job: job, choice: choice, suite: g.suite.Name, keep: options.KeepPool != "", console: options.Console}
	if err := m.claim(ctx, options); err != nil {
		return nil, err
	}
	ctx = m.limit(ctx, options.Limit)
	if m.dir, m.inUse, err = machineDir(); err != nil {
		return nil, errors.Join(err, m.release())
	}
	if m.console == "" {
		m.console = filepath.Join(m.dir, "console.log")
	}
	if err := m.prepare(g, options); err != nil {
		return nil, errors.Join(err, m.release())
	}
	for try := 1; ; try++ {
		if err := m.power(ctx, stdout, stderr); err != nil {
			return nil, errors.Join(err, m.release())
		}
		if m.cameUp(ctx) || try == bootTries {
			return m, nil
		}
		m.closePorts()
	}
}

// ErrTimeLimit is the cause of a machine's end at its Options.Limit.
var ErrTimeLimit = errors.New("time limit reached, the machine was switched off")

// limit begins the machine's time.
func (m *Machine) limit(ctx context.Context, limit time.Duration) context.Context {
	m.cancel = func() {}
	if limit > 0 {
		ctx, m.cancel = context.WithTimeoutCause(ctx, limit, ErrTimeLimit)
	}
	m.cause = func() error { return context.Cause(ctx) }
	return ctx
}

// release gives back what the machine holds of the host.
func (m *Machine) release() error {
	m.cancel()
	m.processors.Release()
	if m.dir == "" {
		return nil
	}
	return m.removeDir()
}

const (
	bootTries = 3
	// bootTime is how long a machine may take until its job begins, on a host
	// that has much else to do.
	bootTime = 4 * time.Minute
)

// cameUp waits for the job to begin, and reports whether there is any use in
// waiting longer. If not, the machine is off.
func (m *Machine) cameUp(ctx context.Context) bool {
	limit := time.NewTimer(bootTime)
	defer limit.Stop()
	select {
	case <-m.ready:
		return true
	case <-m.exited:
	case <-limit.C:
		m.Kill()
	}
	m.streams.Wait()
	select {
	case <-m.ready: // and ended at once
		return true
	default:
		return ctx.Err() != nil || m.report.control.failure != ""
	}
}

// power switches the machine on.
func (m *Machine) power(ctx context.Context, stdout, stderr io.Writer) error {
	m.exited, m.ready = make(chan struct{}), make(chan struct{})
	m.report = report{}
	if err := m.startProcess(ctx); err != nil {
		return err
	}
	m.listen(stdout, stderr, m.end)
	return nil
}

// Ready is closed when the job began. It stays open when the machine ended
// before that.
func (m *Machine) Ready() <-chan struct{} { return m.ready }

// Exited is closed when the machine is off.
func (m *Machine) Exited() <-chan struct{} { return m.exited }

// Talk is the host's end of a line to the job, which opens the device that
// [TalkPort] matches. Unlike the job's output, which passes through pipes of
// the guest, what the job has got an answer to has left the machine: a power
// cut cannot take it back. Reading ends with the machine.
func (m *Machine) Talk() io.ReadWriter { return m.ports[portTalk] }

// Kill cuts the power.
func (m *Machine) Kill() {
	_ = m.killProcess()
	<-m.exited
}

// Wait returns the job's exit code. An error means that the machine, not the
// job, failed or was ended: see [EndedError].
func (m *Machine) Wait() (int, error) {
	m.streams.Wait()
	code, err := m.outcome()
	if err == nil && m.keep {
		select {
		case <-m.exited:
		case <-time.After(settleTime):
		}
	}
	// Nothing of the machine is of use any more: no need to shut it down.
	m.Kill()
	m.closePorts()
	if err != nil && m.report.control.failure == "" {
		err = m.explain(err)
	}
	if cause := m.cause(); err != nil && errors.Is(cause, ErrTimeLimit) {
		err = errors.Join(cause, err)
	}
	return code, errors.Join(err, m.writeRecord(), m.release())
}

// errEnded is the bare reason of an [EndedError].
var errEnded = errors.New("the machine ended before its job")

func (m *Machine) outcome() (int, error) {
	r := &m.report
	switch {
	case r.control.failure != "":
		return 0, fmt.Errorf("the guest could not start the job: %s", r.control.failure)
	case !r.control.exited || !r.outDone || !r.errDone || !r.filesDone:
		return 0, errEnded
	}
	return r.control.code, errors.Join(r.outErr, r.errErr, r.filesErr)
}
