package receive

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Plan describes what receiving a stream does. It holds the claim on the store until
// Close.
type Plan struct {
	Receiving overlayzfs.Receiving
	Lost      []string // images that only this host has, and that receiving deletes
	Refused   []string // why the stream does not fit

	receiver *Receiver
	stream   *transfer.Reader
	claim    io.Closer // nil for a stream that makes the dataset
}

// Close releases the claim on the store.
func (p *Plan) Close() error {
	if p.claim == nil {
		return nil
	}
	return p.claim.Close()
}

// Check returns ErrRefused when the stream does not fit.
func (p *Plan) Check() error {
	if len(p.Refused) > 0 {
		return fmt.Errorf("the stream does not fit: %w", ErrRefused)
	}
	return nil
}

// Examine returns what receiving the stream would do, and why it cannot be received. It
// changes nothing. Until the plan is closed nobody can open the store that an incremental
// stream continues; the lock on a data-root alone does not prevent that, because dockerd
// may use another data-root.
func (r *Receiver) Examine(stream *transfer.Reader) (*Plan, error) {
	p := &Plan{Lost: []string{}, Refused: []string{}, receiver: r, stream: stream}
	if !stream.Header.IsFull() {
		claim, err := overlayzfs.ClaimDataset(r.Where.Dataset)
		switch {
		case errors.Is(err, fault.NotFound): // which examine says
		case err != nil:
			return nil, refuseBusy(err)
		default:
			p.claim = claim
		}
	}
	if err := p.examine(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Plan) examine() error {
	r, header := p.receiver, p.stream.Header
	target, err := transfer.InspectTarget(r.ZFS, r.Where.Dataset, p.stream.Begin)
	if err != nil {
		return err
	}
	p.Refused = append(p.Refused, target.FindMisfits(header, r.Discard)...)
	unfinished, err := r.findUnfinished()
	if err != nil {
		return err
	}
	p.Refused = append(p.Refused, unfinished...)
	common := target.CommonSnapshot(header)
	lost, first, err := findLosses(r.Where, common)
	if err != nil {
		return err
	}
	p.Lost = append(p.Lost, lost...)
	p.Refused = append(p.Refused, first...)
	if len(lost) > 0 && !r.Discard {
		p.Refused = append(p.Refused, fmt.Sprintf("only this host has %s: save them (docker save), or drop them with --discard", count(len(lost), "image")))
	}
	_, from, _ := strings.Cut(common, "@")
	p.Receiving = overlayzfs.Receiving{From: from, To: header.Name}
	return nil
}

// findUnfinished returns a reason to refuse when an earlier receive is unfinished. After
// an interruption of ZFS nothing was received, so there is nothing to finish.
func (r *Receiver) findUnfinished() ([]string, error) {
	receiving, err := overlayzfs.ReadReceiving(r.ZFS, r.Where.Dataset)
	if err != nil || receiving == nil {
		return nil, err
	}
	exists, err := r.ZFS.Exists(r.snapshotOf(receiving.To))
	if err != nil || !exists && !receiving.Refused {
		return nil, err
	}
	return []string{fmt.Sprintf("receiving the stream %s was cut short: `%s` first", receiving.To, r.Remedy)}, nil
}

// count formats a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
