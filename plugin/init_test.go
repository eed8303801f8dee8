package plugin

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// openRecorder is an Opener that records the parameters it gets, and fails on request.
type openRecorder struct {
	mu      sync.Mutex
	events  []string
	drivers []*fake
	err     error
	before  func(ctx context.Context, p InitParams) // runs first
}

func (o *openRecorder) open(ctx context.Context, p InitParams) (Driver, error) {
	if o.before != nil {
		o.before(ctx, p)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, p.Home+strings.Join(p.Opts, ","))
	if o.err != nil {
		return nil, o.err
	}
	d := newFake()
	o.drivers = append(o.drivers, d)
	return d, nil
}

func (o *openRecorder) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *openRecorder) history() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.events, " ")
}

func isClosed(d *fake) bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

func mustInit(t *testing.T, r *rig, p InitParams) {
	t.Helper()
	if err := r.Init(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func TestCallsBeforeInit(t *testing.T) {
	r := serve(t, always(newFake()), "")
	for _, err := range everyCall(t.Context(), r.client) {
		wantText(t, err, "not initialised: the engine has not sent Init")
	}
	if exact, err := r.ReproducesExactDiffs(t.Context()); exact || err != nil {
		t.Errorf("capabilities: %v, %v", exact, err)
	}
}

func TestFailedInit(t *testing.T) {
	o := &openRecorder{err: errors.New("no such pool")}
	r := serve(t, o.open, filepath.Join(t.TempDir(), "state"))
	wantText(t, r.Init(t.Context(), InitParams{Home: "/h"}), "init: no such pool")
	wantText(t, r.Put(t.Context(), "a"), "not initialised", "no such pool")
	o.fail(nil)
	mustInit(t, r, InitParams{Home: "/h"})
	if err := r.Put(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestInitAgainRestarts(t *testing.T) {
	o := &openRecorder{}
	r := serve(t, o.open, "")
	p := InitParams{Home: "/h", Opts: []string{"k=v"}}
	mustInit(t, r, p)
	mustInit(t, r, p)
	if got := o.history(); got != "/hk=v" {
		t.Errorf("opened %s, want once", got)
	}
	if got := o.drivers[0].joinCalls(); got != "restart" {
		t.Errorf("the driver was asked %q, want a restart", got)
	}
	o.drivers[0].err = errors.New("cannot count")
	wantText(t, r.Init(t.Context(), p), "cannot count")
}

func TestInitElsewhere(t *testing.T) {
	o := &openRecorder{}
	r := serve(t, o.open, "")
	mustInit(t, r, InitParams{Home: "/h"})
	o.before = func(context.Context, InitParams) {
		if !isClosed(o.drivers[0]) {
			t.Error("two drivers were open at once")
		}
	}
	mustInit(t, r, InitParams{Home: "/new"})
	if err := r.Put(t.Context(), "b"); err != nil || o.drivers[1].joinCalls() != `put "b"` {
		t.Errorf("the new driver was asked %q: %v", o.drivers[1].joinCalls(), err)
	}
}

// TestInitWhoseHomeIsGone: the process is asked to end, and its successor takes
// the engine's repeated Init, which has no body any more.
func TestInitWhoseHomeIsGone(t *testing.T) {
	o, state := &openRecorder{}, filepath.Join(t.TempDir(), "state")
	ended := make(chan error, 1)
	r := serve(t, o.open, state, func(s *Server) { s.Stale = func(err error) { ended <- err } })
	mustInit(t, r, InitParams{Home: "/h"})
	o.drivers[0].err = fault.New(fault.HomeGone, "nothing is there")
	wantText(t, r.Init(t.Context(), InitParams{Home: "/h"}), "nothing is there")
	if err := <-ended; !errors.Is(err, fault.HomeGone) {
		t.Errorf("the process was to end for %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	next := &openRecorder{}
	r = serve(t, next.open, state)
	if status, answer := r.post(t, callInit, strings.NewReader("")); status != http.StatusOK || strings.Contains(answer, "empty") {
		t.Errorf("the repeated Init: %d %s", status, answer)
	}
	if err := r.Put(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if _, answer := r.post(t, callInit, strings.NewReader("")); !strings.Contains(answer, "body is empty") {
		t.Errorf("a second Init without a body: %s", answer)
	}
}

// TestInitOfTheSameHomeClosesFirst: two drivers must not share a home.
func TestInitOfTheSameHomeClosesFirst(t *testing.T) {
	o := &openRecorder{}
	r := serve(t, o.open, "")
	mustInit(t, r, InitParams{Home: "/h", Opts: []string{"1"}})
	o.before = func(context.Context, InitParams) {
		if !isClosed(o.drivers[0]) {
			t.Error("the home's driver is still open")
		}
	}
	o.fail(errors.New("bad option"))
	wantText(t, r.Init(t.Context(), InitParams{Home: "/h", Opts: []string{"2"}}), "bad option")
	o.fail(nil)
	if err := r.Put(t.Context(), "a"); err != nil { // opens the old one again
		t.Error(err)
	}
	if got := o.history(); got != "/h1 /h2 /h1" {
		t.Errorf("opened %s", got)
	}
}

// TestASwitchWaitsForCalls: a driver is closed after its last call, and a
// switch that nobody waits for any more leaves a server that works.
func TestASwitchWaitsForCalls(t *testing.T) {
	o := &openRecorder{}
	r := serve(t, o.open, "")
	mustInit(t, r, InitParams{Home: "/h"})
	began, release := make(chan struct{}), make(chan struct{})
	old := o.drivers[0]
	old.hook = func(context.Context, string) { close(began); <-release }
	result := make(chan error, 1)
	go func() { result <- r.Put(t.Context(), "a") }()
	await(t, began, "the call")
	ctx, giveUp := context.WithCancel(t.Context())
	switched := make(chan error, 1)
	go func() { switched <- r.Init(ctx, InitParams{Home: "/h", Opts: []string{"2"}}) }()
	giveUp()
	if err := await(t, switched, "Init"); err == nil {
		t.Error("Init succeeded with the old driver at work")
	}
	if isClosed(old) {
		t.Error("closed under a call")
	}
	close(release)
	if err := await(t, result, "the call's end"); err != nil {
		t.Error(err)
	}
	mustInit(t, r, InitParams{Home: "/h", Opts: []string{"3"}})
	await(t, old.closed, "the old driver to close")
	if err := r.Put(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestRestoreAfterACrash(t *testing.T) {
	state := filepath.Join(t.TempDir(), "deep", "state")
	p := InitParams{Home: "/h", Opts: []string{"k=v"}, UIDMaps: []IDMap{{0, 1, 2}}, GIDMaps: []IDMap{{0, 3, 4}}}
	first := serve(t, (&openRecorder{}).open, state)
	mustInit(t, first, p)
	info, err := os.Stat(state)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the state file: %v, %v", info, err)
	}
	names, err := os.ReadDir(filepath.Dir(state))
	if err != nil || len(names) != 1 {
		t.Errorf("beside the state file: %v, %v", names, err)
	}

	// Calls that come while the second process opens its driver wait for it.
	gate := make(chan struct{})
	var got InitParams
	o := &openRecorder{before: func(_ context.Context, p InitParams) { got = p; <-gate }}
	second := serve(t, o.open, state)
	result := make(chan error, 1)
	go func() { result <- second.Put(t.Context(), "a") }()
	hasty, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() { gaveUp <- second.Put(hasty, "b") }()
	cancel()
	if err := await(t, gaveUp, "the hasty call"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(gate)
	if err := await(t, result, "the call"); err != nil {
		t.Error(err)
	}
	if !got.equal(p) {
		t.Errorf("restored %+v, want %+v", got, p)
	}
	mustInit(t, second, p)
	if got := o.drivers[0].joinCalls(); !strings.HasSuffix(got, "restart") {
		t.Errorf("Init after the restore asked the driver %q", got)
	}
}

func TestRestoreHeals(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	if err := stateFile(state).save(InitParams{Home: "/h"}); err != nil {
		t.Fatal(err)
	}
	o := &openRecorder{err: errors.New("pool is not imported")}
	r := serve(t, o.open, state)
	wantText(t, r.Put(t.Context(), "a"), "put layer a", "the driver is not open", "pool is not imported")
	o.fail(nil)
	if err := r.Put(t.Context(), "a"); err != nil {
		t.Errorf("after the import: %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "pool is not imported") {
		t.Errorf("the log lacks the reason:\n%s", log)
	}
}

func TestStateFilesOfNoUse(t *testing.T) {
	for name, data := range map[string]string{
		"empty": ``, "cut": `{"version":1,"ho`, "text": `hello`, "newer": `{"version":2,"home":"/h"}`,
		"no version": `{"home":"/h"}`, "no home": `{"version":1}`, "endless": `{"version":1,"home":"` + strings.Repeat("x", 2*maxRequest) + `"}`,
		"bad map": `{"version":1,"home":"/h","uid_maps":[{"container_id":0,"host_id":-1,"size":1}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			if err := os.WriteFile(state, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			o := &openRecorder{}
			r := serve(t, o.open, state)
			wantText(t, r.Put(t.Context(), "a"), "not initialised: state file "+state)
			if got := o.history(); got != "" {
				t.Errorf("opened %s", got)
			}
			mustInit(t, r, InitParams{Home: "/h"})
			if p, err := stateFile(state).load(); err != nil || p == nil || p.Home != "/h" {
				t.Errorf("after Init the file says %+v, %v", p, err)
			}
		})
	}
}

// TestStateThatCannotBeKept: a plugin that would not survive its next restart
// says so while somebody listens, and what is kept already needs no writing.
func TestStateThatCannotBeKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &openRecorder{}
	r := serve(t, o.open, filepath.Join(file, "state"))
	if err := r.Init(t.Context(), InitParams{Home: "/h"}); err == nil {
		t.Error("Init succeeded")
	}
	if len(o.drivers) > 0 && !isClosed(o.drivers[0]) {
		t.Error("the driver stayed open")
	}
}

func TestSaveLeavesWhatIsThere(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	p := InitParams{Home: "/h"}
	if err := stateFile(state).save(p); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := stateFile(state).save(p); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(state); err != nil || !os.SameFile(before, after) {
		t.Errorf("the same parameters were written again: %v", err)
	}
	if err := stateFile(state).save(InitParams{Home: "/other"}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(state); err != nil || os.SameFile(before, after) {
		t.Errorf("the file was changed in place: %v", err)
	}
}

func TestRefusedIDMaps(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	o := &openRecorder{}
	r := serve(t, o.open, state, func(s *Server) { s.RefuseIDMaps = "not here" })
	for _, p := range []InitParams{{Home: "/h", UIDMaps: []IDMap{{0, 1, 1}}}, {Home: "/h", GIDMaps: []IDMap{{0, 1, 1}}}} {
		wantText(t, r.Init(t.Context(), p), "init: not here")
	}
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) || o.history() != "" {
		t.Errorf("something was touched: %v, %q", err, o.history())
	}
	mustInit(t, r, InitParams{Home: "/h"})
}

func TestOpenerThatPanics(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	if err := stateFile(state).save(InitParams{Home: "/h"}); err != nil {
		t.Fatal(err)
	}
	o := &openRecorder{before: func(context.Context, InitParams) { panic("lost") }}
	r := serve(t, o.open, state) // panics in the background already
	wantText(t, r.Put(t.Context(), "a"), "opening the driver panicked: lost")
	wantText(t, r.Init(t.Context(), InitParams{Home: "/h"}), "opening the driver panicked: lost")
}

// TestEachInitPairsTheStore: what the store and the state file have in common
// changes with the engine's sessions, and not with the process.
func TestEachInitPairsTheStore(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	var known [][]string
	paired := func(context.Context, InitParams) (Driver, error) {
		d := newFake()
		d.pair = func(before []string, keep func([]string) error) error {
			known = append(known, before)
			return keep([]string{strings.Repeat("x", len(known))})
		}
		return d, nil
	}
	p := InitParams{Home: "/h", Opts: []string{"k=v"}}
	first := serve(t, paired, state)
	mustInit(t, first, p)
	mustInit(t, first, p)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := serve(t, paired, state)
	if err := second.Put(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if len(known) != 2 {
		t.Errorf("a process that started again paired the store: %q", known)
	}
	mustInit(t, second, InitParams{Home: "/h", Opts: []string{"k=other"}})
	if len(known) != 3 || len(known[0]) != 0 || !slices.Equal(known[1], []string{"x"}) || !slices.Equal(known[2], []string{"xx"}) {
		t.Errorf("%q", known)
	}
	raw, err := os.ReadFile(state)
	if got := Tokens(raw); err != nil || !slices.Equal(got, []string{"xxx"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPairingThatFailsIsNoReasonNotToStart: it is said, and an engine starts.
func TestPairingThatFailsIsNoReasonNotToStart(t *testing.T) {
	d := newFake()
	d.pair = func([]string, func([]string) error) error { return errors.New("no space") }
	r := serve(t, always(d), filepath.Join(t.TempDir(), "state"))
	mustInit(t, r, InitParams{Home: "/h"})
	if log := r.log.String(); !strings.Contains(log, "no space") || !strings.Contains(log, "gc") {
		t.Errorf("the log says\n%s", log)
	}
}
