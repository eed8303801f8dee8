package powercut

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/integration/vm"
)

// startLimit is how long a machine may take until its load begins.
const startLimit = 10 * time.Minute

// round is one machine, from its boot to the cut.
type round struct {
	*series
	machine *vm.Machine
	rand    *rand.Rand
	last    bool
	loading bool
	moment  moment
	once    sync.Once
	trouble string
	looked  int
	begun   time.Time
	up      time.Duration // from the start to the job
	ready   time.Duration // from the start to the load
	end     string
	cut     *time.Timer
}

// run listens to the machine until it is gone.
func (r *round) run() error {
	r.cut = time.AfterFunc(startLimit, r.machine.Kill)
	defer r.cut.Stop()
	err := wire.Hear(r.machine.Talk(), r.hear)
	if err != nil {
		r.machine.Kill()
	}
	code, ended := r.machine.Wait()
	switch {
	case err != nil:
		return err
	case r.trouble != "":
		return errors.New(r.trouble)
	case r.last && ended == nil && code == 0:
		r.end = "not cut"
		return nil
	case !r.loading:
		return fmt.Errorf("the machine ended before its load began: exit code %d, %w", code, ended)
	case ended == nil:
		return fmt.Errorf("the load ended by itself with exit code %d", code)
	}
	return nil
}

// hear takes in an event, and answers it.
func (r *round) hear(e wire.Event) string {
	switch e.Verb {
	case wire.Seen:
		r.looked++
		if v := r.book.look(e.ID, *e.Found, r.hasOrderedLoss()); v.class != "" {
			r.find(v.class, e.ID, v.text)
		} else if e.Found.Exists {
			r.tally.Verified++
		}
	case wire.Checked:
		return answer(r.book.drops())
	case wire.Store:
		return answer(r.strangers(e.Store))
	case wire.Load:
		r.arm()
	case wire.Trouble:
		r.trouble = e.Text
	default:
		r.book.hear(e)
		r.hearCall(e)
	}
	return ""
}

func answer(d wire.Drop) string {
	// It has nothing that JSON cannot carry.
	text, _ := json.Marshal(d)
	return string(text)
}

// hearCall looks for calls that fail, and for the one to cut the power at.
func (r *round) hearCall(e wire.Event) {
	// A driver that has no limits yet says so once.
	noLimits := e.Size > 0 && wire.NoLimits(e.Text)
	if e.Verb == wire.Failed && !noLimits {
		r.find(Refused, string(e.Call)+" "+e.ID, e.Text)
	}
	if r.loading {
		r.moment.hear(e, r.cutPower)
	}
}

// hasOrderedLoss reports whether a cut loses only the dataset's last seconds, as it does
// when the dataset syncs nothing.
func (r *round) hasOrderedLoss() bool { return r.Sync == "disabled" }

// arm begins to wait for the moment of the cut.
func (r *round) arm() {
	r.loading, r.ready = true, time.Since(r.begun)
	r.moment = drawMoment(r.rand, r.Tier, r.size())
	r.cut.Stop()
	r.cut = time.AfterFunc(r.moment.latest, func() { r.cutPower("the time was up") })
}

// cutPower may be called twice.
func (r *round) cutPower(why string) {
	r.once.Do(func() {
		r.end = fmt.Sprintf("cut after %.1f s: %s", time.Since(r.begun.Add(r.ready)).Seconds(), why)
		r.machine.Kill()
	})
}

// stranger is the class of what nothing accounts for: whole layers and what
// belongs to them, or bits. With an engine the list is the engine's own, which
// comes after the driver's answer.
func stranger(tier Tier, name string, all []string) Class {
	_, id, _ := strings.Cut(name, " ")
	if tier == EngineTier && (slices.Contains(all, "layer "+id) || slices.Contains(all, "view "+id)) {
		return Unrecorded
	}
	return Leftover
}

// strangers reports what the store holds and the list does not, each once.
func (r *round) strangers(store []string) wire.Drop {
	names, drop := r.book.strangers(store)
	for _, name := range names {
		if !r.seen[name] {
			r.seen[name] = true
			r.find(stranger(r.Tier, name, names), name, "nothing in the list accounts for it")
		}
	}
	return drop
}
