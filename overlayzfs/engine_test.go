package overlayzfs

import (
	"errors"
	"os"
	"slices"
	"testing"
)

// side is the tokens that an engine keeps in its data-root.
type side struct {
	t      *testing.T
	store  *Driver
	tokens []string
	err    error // of keeping
}

func newPairing(t *testing.T) *side {
	t.Helper()
	d := &Driver{home: home(t.TempDir())}
	if err := os.Mkdir(d.home.privatePath(), 0o700); err != nil {
		t.Fatal(err)
	}
	return &side{t: t, store: d}
}

// copied returns a copy of the engine's data-root.
func (s *side) copied() *side { return &side{s.t, s.store, slices.Clone(s.tokens), nil} }

func (s *side) init() error {
	return s.store.BindEngine(s.tokens, func(tokens []string) error {
		if s.err == nil {
			s.tokens = tokens
		}
		return s.err
	})
}

func (s *side) start() {
	s.t.Helper()
	if err := s.init(); err != nil {
		s.t.Fatal(err)
	}
}

// want checks which of some sides have the store's token.
func (s *side) want(disputed bool, sides map[*side]bool) {
	s.t.Helper()
	e, err := (&StoreView{home: s.store.home}).Engine()
	if err != nil || e.Disputed != disputed {
		s.t.Errorf("%+v, %v", e, err)
	}
	for side, has := range sides {
		if slices.Contains(side.tokens, e.Token) != has {
			s.t.Errorf("%q has %q: %v", side.tokens, e.Token, !has)
		}
	}
}

func TestOneEngineAfterItself(t *testing.T) {
	s := newPairing(t)
	s.want(false, map[*side]bool{s: false}) // a store of before
	for range 3 {
		s.start()
		s.want(false, map[*side]bool{s: true})
		if len(s.tokens) > 2 {
			t.Errorf("%q", s.tokens)
		}
	}
}

// TestAStaleCopyOfTheRecords makes sure that a copy is refused as soon as the original was
// started, and for good once the copy was started too.
func TestAStaleCopyOfTheRecords(t *testing.T) {
	old := newPairing(t)
	old.start()
	moved := old.copied()
	moved.start()
	old.want(false, map[*side]bool{old: false, moved: true})
	moved.start()
	old.start()
	old.want(true, map[*side]bool{old: true, moved: false})
	old.start()
	moved.start() // in turn
	old.want(true, map[*side]bool{old: false, moved: true})
	if err := moved.store.EndDispute(); err != nil {
		t.Fatal(err)
	}
	old.want(false, map[*side]bool{old: false, moved: true})
}

// TestPairingCutShort crashes at each step. The engine that came has the token then, and an
// earlier copy of its records cannot get it.
func TestPairingCutShort(t *testing.T) {
	s := newPairing(t)
	s.start()
	before := s.copied()
	last, err := os.ReadFile(s.store.home.privatePath(engineFile))
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	// The store has not taken the token.
	if err := os.WriteFile(s.store.home.privatePath(engineFile), last, 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(false, map[*side]bool{s: true, before: true}) // nothing happened since
	s.start()
	s.want(false, map[*side]bool{s: true, before: false})
}

// TestATokenThatCannotBeKept makes sure that no engine has such a token.
func TestATokenThatCannotBeKept(t *testing.T) {
	s := newPairing(t)
	s.start()
	before := s.copied()
	s.err = errors.New("no space")
	if err := s.init(); !errors.Is(err, s.err) {
		t.Errorf("%v", err)
	}
	s.want(false, map[*side]bool{s: false, before: false})

	s.err = nil
	s.start()
	if err := os.Mkdir(s.store.home.privatePath(engineFile+".new"), 0o700); err != nil { // the store cannot
		t.Fatal(err)
	}
	if err := s.init(); err == nil {
		t.Error("a token that the store does not have passed")
	}
	s.want(true, map[*side]bool{s: false, before: false})
}
