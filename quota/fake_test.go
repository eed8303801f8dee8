package quota

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// fakeController records its calls, and fails as the test tells it.
type fakeController struct {
	calls   []string
	records []Record
	fail    map[string]error
	held    Usage
}

func (f *fakeController) did(call string, r Record) error {
	f.calls, f.records = append(f.calls, call), append(f.records, r)
	return f.fail[call]
}

func (f *fakeController) reserve(r *Record) error {
	if r.Mode == Project {
		r.Project = firstProject
	}
	return f.did("reserve", *r)
}

func (f *fakeController) make(layer Layer, r Record, fill func(string) error) error {
	return errors.Join(f.did("make", r), fill(layer.Dir))
}
func (f *fakeController) attach(_ Layer, r Record) error { return f.did("attach", r) }
func (f *fakeController) detach(_ Layer, r Record) error { return f.did("detach", r) }
func (f *fakeController) set(_ Layer, r Record) error    { return f.did("set", r) }
func (f *fakeController) usage(_ Layer, r Record) (Usage, error) {
	return f.held, f.did("usage", r)
}
func (f *fakeController) discard(_ context.Context, _ string, r Record) error {
	return f.did("discard", r)
}
func (f *fakeController) sweep(context.Context, func() (map[string]*Record, error)) error {
	return f.did("sweep", Record{})
}
func (f *fakeController) close() {}

func (f *fakeController) count(call string) (n int) {
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

const testKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func fakeLimiter(t *testing.T, c *fakeController, mode Mode) *Limiter {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "records")
	must(t, os.Mkdir(dir, 0o700))
	l := &Limiter{records: records(dir), mode: mode, controllers: map[Mode]controller{Dataset: c, Project: c}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

func noFill(string) error { return nil }

func TestTheRecordComesFirstAndGoesLast(t *testing.T) {
	c := &fakeController{}
	l := fakeLimiter(t, c, Project)
	defer l.Close()
	layer := Layer{Key: testKey}
	must(t, l.Make(layer, "x", Spec{Limits: Limits{Bytes: 1 << 20}}, func(string) error {
		r, err := l.Find(testKey)
		if err != nil || r == nil || r.Project != firstProject || r.Bytes != 1<<20 {
			t.Errorf("while it is made: %+v, %v", r, err)
		}
		return nil
	}))
	c.fail = map[string]error{"discard": fault.PoolUnavailable}
	wantError(t, l.Discard(testKey), fault.PoolUnavailable, "layer x")
	if r, _ := l.Find(testKey); r == nil {
		t.Error("what it had is there, and the record is gone")
	}
	c.fail = nil
	must(t, l.Discard(testKey))
	must(t, l.Discard(testKey))
	if r, _ := l.Find(testKey); r != nil {
		t.Error("the record stayed")
	}
}

func TestMakeThatFailsIsDiscarded(t *testing.T) {
	c := &fakeController{}
	l := fakeLimiter(t, c, Dataset)
	defer l.Close()
	err := l.Make(Layer{Key: testKey}, "x", Spec{Limits: Limits{Bytes: 1 << 20}}, func(string) error { return fault.NoSpace })
	wantError(t, err, fault.NoSpace)
	equal(t, "discards", c.count("discard"), 1)
	if r, _ := l.Find(testKey); r != nil {
		t.Error("a record stayed")
	}
	wantError(t, l.Make(Layer{Key: "../../etc/x"}, "x", Spec{Limits: Limits{Bytes: 1 << 20}}, noFill), fault.Invalid)
	wantError(t, l.Make(Layer{Key: testKey}, "x", Spec{Properties: Properties{"mountpoint": "/"}}, noFill), fault.Invalid)
}

func TestALayerWithoutLimitCostsNothing(t *testing.T) {
	c := &fakeController{}
	l := fakeLimiter(t, c, Dataset)
	defer l.Close()
	layer := Layer{Key: testKey}
	must(t, errors.Join(l.Check(Spec{}), l.Attach(layer), l.Detach(layer), l.Discard(testKey)))
	_, err := l.Usage(layer)
	must(t, err)
	equal(t, "calls", len(c.calls), 0)
	wantError(t, l.SetLimits(layer, Limits{Bytes: 1 << 20}), fault.Unsupported, "made without a limit")
}

func TestSetThatFailsPutsTheOldLimitBack(t *testing.T) {
	c := &fakeController{held: Usage{Bytes: 4 << 20}}
	l := fakeLimiter(t, c, Dataset)
	defer l.Close()
	layer := Layer{Key: testKey}
	must(t, l.Make(layer, "x", Spec{Limits: Limits{Bytes: 8 << 20}}, noFill))
	wantError(t, l.SetLimits(layer, Limits{Bytes: 2 << 20}), fault.LimitReached, "below the 4194304")
	equal(t, "sets", c.count("set"), 0)
	c.fail = map[string]error{"set": fault.PoolUnavailable}
	wantError(t, l.SetLimits(layer, Limits{Bytes: 16 << 20}), fault.PoolUnavailable)
	equal(t, "the last set", c.records[len(c.records)-1].Bytes, 8<<20)
	r, err := l.Find(testKey)
	must(t, err)
	equal(t, "record", r.Bytes, 8<<20)
	c.fail = nil
	must(t, l.SetLimits(layer, Limits{Bytes: 16 << 20}))
	r, err = l.Find(testKey)
	must(t, err)
	equal(t, "record", r.Bytes, 16<<20)
}

func TestRecover(t *testing.T) {
	c := &fakeController{}
	l := fakeLimiter(t, c, Dataset)
	defer l.Close()
	const gone, damaged = "GONE", "DAMAGED"
	must(t, l.records.save(testKey, Record{Layer: "x", Mode: Dataset}))
	must(t, l.records.save(gone, Record{Layer: "y", Mode: Dataset}))
	must(t, os.WriteFile(l.records.path(damaged), []byte("?"), 0o600))
	must(t, l.Recover(context.Background(), func(_ Record, key string) (Layer, bool) { return Layer{Key: key}, key == testKey }))
	equal(t, "sets", c.count("set"), 1)
	equal(t, "discards", c.count("discard"), 1)
	equal(t, "sweeps", c.count("sweep"), 2) // of both means
	keys, err := l.records.listKeys()
	must(t, err)
	equal(t, "records", len(keys), 2) // a damaged one is a person's business
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantError(t, l.Recover(ctx, nil), context.Canceled)
}

// TestModesAreChosen compares the mode with the option and the probe's verdict.
func TestModesAreChosen(t *testing.T) {
	refused := fault.New(fault.Unsupported, "issue 18932")
	for _, c := range []struct {
		asked   Mode
		refused error
		want    Mode
		why     bool
		fails   bool
	}{
		{Auto, nil, Dataset, true, false},
		{"", nil, Dataset, true, false},
		{Auto, refused, Dataset, true, false},
		{Project, nil, Project, false, false},
		{Project, refused, Dataset, true, true},
		{Dataset, refused, Dataset, false, false},
		{Dataset, nil, Dataset, false, false},
		{Off, nil, Off, true, false},
	} {
		l := fakeLimiter(t, &fakeController{}, "")
		l.projectRefusal = c.refused
		l.chooseMode(c.asked)
		mode, why := l.Mode()
		if mode != c.want || (why != nil) != c.why {
			t.Errorf("%q, %v: mode %s, %v", c.asked, c.refused, mode, why)
		}
		if err := l.requireMode(c.asked); (err != nil) != c.fails {
			t.Errorf("%q, %v: %v", c.asked, c.refused, err)
		}
		l.Close()
	}
}

func TestWithoutZFSNothingIsLimited(t *testing.T) {
	lacking := fault.New(fault.Unsupported, "/dev/zfs is missing")
	c := Config{Unavailable: lacking, Records: t.TempDir(), Mode: Auto}
	l, err := Open(context.Background(), c)
	must(t, err)
	defer l.Close()
	must(t, l.Check(Spec{}))
	wantError(t, l.Check(Spec{Limits: Limits{Bytes: 1 << 20}}), fault.Unsupported, "/dev/zfs")
	must(t, l.records.save(testKey, Record{Layer: "x", Mode: Project, Project: firstProject}))
	wantError(t, l.Attach(Layer{Key: testKey}), fault.Unsupported, "layer x", "/dev/zfs")
	must(t, l.Recover(context.Background(), func(Record, string) (Layer, bool) { return Layer{}, true }))
	c.Mode = Project
	_, err = Open(context.Background(), c)
	wantError(t, err, fault.Unsupported, "overlayzfs.quota=project", "/dev/zfs")
}

// TestAProjectLayerIsNotUsedWhereItWouldBreak makes sure that it can still be removed.
func TestAProjectLayerIsNotUsedWhereItWouldBreak(t *testing.T) {
	l := fakeLimiter(t, &fakeController{}, Dataset)
	defer l.Close()
	must(t, l.records.save(testKey, Record{Layer: "x", Mode: Project, Project: firstProject}))
	layer := Layer{Key: testKey}
	l.projectRefusal = fault.New(fault.Unsupported, "issue 18932")
	wantError(t, l.Attach(layer), fault.Unsupported, "layer x", "18932")
	l.projectRefusal = fault.New(fault.NoSpace, "the probe found no space")
	must(t, l.Attach(layer))
	l.projectRefusal = fault.New(fault.Unsupported, "issue 18932")
	must(t, errors.Join(l.Detach(layer), l.Discard(testKey)))
}
