package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerd"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
	"github.com/overlayzfs/overlayzfs/operator/transfer/imagereceive"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
)

// receiveImagesReport is what receive prints of a stream of containerd's images.
type receiveImagesReport struct {
	images.Header
	Address     string                `json:"containerd"`
	Snapshotter string                `json:"snapshotter"`
	New         int                   `json:"new"`
	Same        int                   `json:"same"`
	Changes     []imagereceive.Change `json:"changes"`
	Missing     int64                 `json:"missing"` // bytes of blobs that this host lacks
	DryRun      bool                  `json:"dry_run,omitempty"`
}

// imageTarget says where a stream's images go.
func (f *receiveFlags) imageTarget() (imagestore.Target, error) {
	config, err := dockerconf.Read(cmp.Or(f.wanted.Config, f.config))
	return imagestore.Target{
		Address:   cmp.Or(f.address, config.Containerd, containerd.DefaultAddress),
		Namespace: cmp.Or(config.ContainerdNamespace, defaultNamespace), Snapshotter: cmp.Or(f.wanted.Driver, host.DefaultDriver),
	}, err
}

// receiveImages gives the images of a stream to containerd.
func (f *receiveFlags) receiveImages(ctx context.Context, c console, in *frame.Reader) (err error) {
	target, err := f.imageTarget()
	if err != nil {
		return err
	}
	stream, err := images.NewReader(in)
	if err != nil {
		return err
	}
	plan, err := imagereceive.Receiver{Target: target, Discard: f.discard}.Examine(ctx, stream)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	r := receiveImagesReport{
		Header: stream.Header, Address: target.Address, Snapshotter: target.Snapshotter,
		New: plan.New, Same: plan.Same, Changes: plan.Changes, Missing: plan.Missing, DryRun: f.dryRun,
	}
	if err := f.printImages(c.out, r); err != nil {
		return err
	}
	if err := plan.Check(); err != nil || f.dryRun {
		return err
	}
	if err := f.confirm(ctx, c, "Receive them?"); err != nil {
		return err
	}
	step, done := c.showProgress("receiving", stream.Header.Bytes)
	defer done()
	result, err := plan.Receive(ctx, step)
	if err != nil || f.json {
		return err
	}
	_, err = fmt.Fprintln(c.out, describeReceivedImages(result))
	return err
}

// printImages prints what receiving the stream does.
func (f *receiveFlags) printImages(w io.Writer, r receiveImagesReport) error {
	if f.json {
		return writeJSON(w, r)
	}
	_, err := fmt.Fprintf(w, "Stream of %s: %s, %s, to containerd on %s. %s new, %d here already; %s of blobs missing here.\n",
		r.Time.UTC().Format("2006-01-02 15:04:05"), describeImages(r.Header), bytesText(r.Bytes), r.Address, count(r.New, "name"), r.Same, bytesText(r.Missing))
	for _, change := range r.Changes {
		what := "will be of another image"
		if change.Lost {
			what = "will be of another image, and its image deleted"
		}
		fmt.Fprintf(w, "  %s: %s in name space %s, %s\n", what, fault.Printable(change.Name), change.Namespace, change.From)
	}
	return err
}

// describeReceivedImages is the message of a receive that is done.
func describeReceivedImages(result imagereceive.Result) string {
	return fmt.Sprintf("Done: %s, %s unpacked for this host's platform.", count(result.Images, "image name"), count(result.Unpacked, "image"))
}
