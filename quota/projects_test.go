package quota

import (
	"errors"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestProjectIDsAreNobodysElse(t *testing.T) {
	records := map[string]*Record{"a": {Project: firstProject + 1}, "damaged": nil}
	foreign := map[uint32]bool{firstProject + 2: true}
	p := newProjectIDs(
		func() (map[string]*Record, error) { return records, nil },
		func(id uint32) (bool, error) { return !foreign[id], nil },
	)
	p.next = lastProject
	for _, want := range []uint32{lastProject, firstProject, firstProject + 3, firstProject + 4} {
		id, err := p.reserve()
		must(t, err)
		equal(t, "ID", id, want)
		equal(t, "ours", isOurProject(id), true)
	}
	p.release(firstProject + 3)
	id, err := p.reserve()
	must(t, err)
	equal(t, "ID after one came back", id, firstProject+5) // not that one, so soon
	equal(t, "the probe's is ours to give", isOurProject(probeProject), false)
	equal(t, "0 is ours to give", isOurProject(0), false)
}

func TestProjectIDsAtOnce(t *testing.T) {
	p := newProjectIDs(
		func() (map[string]*Record, error) { return nil, nil },
		func(uint32) (bool, error) { return true, nil },
	)
	var all sync.WaitGroup
	ids := make([]uint32, 100)
	for i := range ids {
		all.Go(func() { ids[i], _ = p.reserve() })
	}
	all.Wait()
	seen := map[uint32]bool{}
	for _, id := range ids {
		if seen[id] || !isOurProject(id) {
			t.Errorf("ID %d", id)
		}
		seen[id] = true
	}
}

func TestProjectIDsRunOut(t *testing.T) {
	broken := errors.New("broken")
	fail := broken
	p := newProjectIDs(
		func() (map[string]*Record, error) { return nil, fail },
		func(uint32) (bool, error) { return false, fail },
	)
	_, err := p.reserve()
	wantError(t, err, broken)
	fail = nil
	_, err = p.reserve()
	wantError(t, err, fault.LimitReached, "65535 project IDs")
	fail = broken
	_, err = p.reserve()
	wantError(t, err, broken)
}

func TestIsRecorded(t *testing.T) {
	records := map[string]*Record{"a": {Project: 5}}
	equal(t, "one that is", isRecorded(5, records), true)
	equal(t, "one that is not", isRecorded(6, records), false)
	records["damaged"] = nil
	equal(t, "one that may be", isRecorded(6, records), true)
}

func TestAnonSize(t *testing.T) {
	n, err := parseAnonSize([]byte("9 1 0x01 147 39984 1 2\nname type data\nhits 4 12\nanon_size                       4    81920\nanon_data 4 5\n"))
	must(t, err)
	equal(t, "anon_size", n, 81920)
	for _, raw := range []string{"", "anon_size 4 x\n"} {
		if _, err := parseAnonSize([]byte(raw)); err == nil {
			t.Errorf("%q is accepted", raw)
		}
	}
}
