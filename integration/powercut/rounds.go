package powercut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/vm"
)

// Tier is what runs while the power is cut.
type Tier string

// The tiers.
const (
	DriverTier Tier = "driver" // the storage driver alone, behind its socket
	EngineTier Tier = "engine" // dockerd with the driver
)

// The drivers that keep the layers.
const (
	Plugin      = "overlayzfs"  // the graphdriver plugin
	Snapshotter = "snapshotter" // the same behind containerd's door
	Overlay2    = "overlay2"    // moby's own, for comparison
)

// Config is what the rounds are about.
type Config struct {
	Tier   Tier
	Driver string
	Sync   string // the dataset's property
	Rounds int
	Seed   uint64
	// Fast is a machine that is not emulated: its loads are cut sooner.
	Fast bool
	// Load is the program for the guest, Plugin and Snapshotter are the doors',
	// and PluginConfig the file that an engine installs the plugin by.
	Load, Plugin, Snapshotter, PluginConfig string
	// Dist has the configurations that users are given.
	Dist string
	// Dir takes the pool's file and what the machines say.
	Dir string
	// GoOn does not end with the first round that finds something.
	GoOn bool
	// Log takes a line for each round and finding.
	Log func(format string, args ...any)
}

const (
	// most is how many layers a store may hold before more are removed than
	// made: all of them are looked at after every cut.
	most = 24
	// poolSize holds the layers many times over.
	poolSize = 4 << 30
)

// size is what a tier asks of the machine, how many events and how long its load may last, and
// about how long a call in it takes.
type size struct {
	memory      string
	workers     int
	events      int
	longestLoad time.Duration
	longestCall time.Duration
}

var (
	emulatedSizes = map[Tier]size{
		DriverTier: {"2G", 4, 120, time.Minute, 800 * time.Millisecond},
		EngineTier: {"4G", 2, 16, 5 * time.Minute, 800 * time.Millisecond},
	}
	fastSizes = map[Tier]size{
		DriverTier: {"2G", 4, 120, 20 * time.Second, 60 * time.Millisecond},
		EngineTier: {"4G", 2, 16, 2 * time.Minute, 200 * time.Millisecond},
	}
)

func (c Config) size() size {
	if c.Fast {
		return fastSizes[c.Tier]
	}
	return emulatedSizes[c.Tier]
}

// series is the rounds on one pool.
type series struct {
	Config
	guest *vm.Guest
	book  book
	tally *Tally
	seen  map[string]bool // strangers in the store, each reported once
	round int
}

// Run cuts the power c.Rounds times, and looks once more after the last. An
// error says that the harness failed; what it found is in the tally.
func Run(ctx context.Context, guest *vm.Guest, c Config) (*Tally, error) {
	s := &series{Config: c, guest: guest, book: newList(c.Driver), tally: &Tally{Answers: make(map[string]int)}, seen: make(map[string]bool)}
	if c.Tier == EngineTier {
		s.book = newEngineBook()
	}
	begin := time.Now()
	defer func() { s.tally.Seconds = time.Since(begin).Seconds() }()
	for s.round = 1; s.round <= c.Rounds+1; s.round++ {
		if err := s.runRound(ctx); err != nil {
			return s.finish(), fmt.Errorf("round %d: %w", s.round, err)
		}
		if s.tally.Failures() > 0 && !c.GoOn {
			break
		}
	}
	return s.finish(), nil
}

func (s *series) finish() *Tally {
	counts := s.book.counts()
	s.tally.Answers, s.tally.Recorded = counts.answers, counts.recorded
	return s.tally
}

// runRound boots a machine, runs the load and judges the state after the last cut.
func (s *series) runRound(ctx context.Context) error {
	begin := time.Now()
	last := s.round > s.Rounds
	job, err := s.job(last)
	if err != nil {
		return err
	}
	if !s.GoOn {
		if err := s.keepPool(); err != nil {
			return err
		}
	}
	output, err := os.OpenFile(s.path("guest-output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	fmt.Fprintf(output, "--- round %d\n", s.round)
	options := vm.Options{Memory: s.size().memory, PoolSize: poolSize, KeepPool: s.path("pool.img"), Console: s.path("console")}
	machine, err := s.guest.Start(ctx, options, job, output, output)
	if err != nil {
		return err
	}
	r := &round{series: s, machine: machine, last: last, begun: begin, up: time.Since(begin), rand: layers.Random(s.Seed ^ uint64(s.round)<<32)}
	found := len(s.tally.Findings)
	if err := r.run(); err != nil {
		return s.addOutput(err)
	}
	s.tally.Rounds++
	if !last {
		s.tally.Cuts++
	}
	s.Log("round %d: up after %.1f s, %d layers looked at after %.1f s, %s, %d listed, %.1f s",
		s.round, r.up.Seconds(), r.looked, r.ready.Seconds(), r.end, s.book.counts().listed, time.Since(begin).Seconds())
	for _, f := range s.tally.Findings[found:] {
		s.Log("%s", f)
	}
	return nil
}

func (s *series) path(name string) string { return filepath.Join(s.Dir, name) }

// newSeed draws a seed that is short enough to be typed.
func newSeed() uint64 { return uint64(time.Now().UnixNano() / 1000 % 1e9) }

// find takes down what is wrong.
func (s *series) find(class Class, what, text string) {
	s.tally.Findings = append(s.tally.Findings, Finding{s.round, class, what, text})
}

// addOutput adds the last words of the guest's program.
func (s *series) addOutput(err error) error {
	raw, reading := os.ReadFile(s.path("guest-output"))
	if reading != nil {
		return errors.Join(err, reading)
	}
	const most = 3000
	return fmt.Errorf("%w\n%s", err, raw[max(0, len(raw)-most):])
}

// keepPool copies the pool's file as the power cut left it: what the next start
// finds wrong is looked for there. Holes stay holes.
func (s *series) keepPool() error {
	from, err := os.Open(s.path("pool.img"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(s.path("pool-before.img"))
	if err != nil {
		return err
	}
	defer to.Close()
	return errors.Join(copySparse(to, from), to.Close())
}

// copySparse copies the parts of a file that hold data.
func copySparse(to, from *os.File) error {
	const seekData, seekHole = 3, 4
	info, err := from.Stat()
	if err != nil {
		return err
	}
	for at := int64(0); at < info.Size(); {
		begin, err := from.Seek(at, seekData)
		if err != nil {
			break // nothing but a hole follows
		}
		if at, err = from.Seek(begin, seekHole); err != nil {
			return err
		}
		if _, err := to.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(to, io.NewSectionReader(from, begin, at-begin)); err != nil {
			return err
		}
	}
	return to.Truncate(info.Size())
}
