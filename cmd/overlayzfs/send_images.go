package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
	"github.com/overlayzfs/overlayzfs/operator/transfer/imagesend"
	"github.com/overlayzfs/overlayzfs/operator/transfer/send"
)

// sendImagesReport is what send prints of a snapshotter's store.
type sendImagesReport struct {
	images.Header
	Root       string                 `json:"containerd_root"`
	Incomplete []imagesend.Incomplete `json:"incomplete"`
	Written    int64                  `json:"written,omitempty"` // bytes
	DryRun     bool                   `json:"dry_run,omitempty"`
}

// sendImages writes the images of a snapshotter's store.
func (f *sendFlags) sendImages(ctx context.Context, c console, s *inventory.Source) (err error) {
	if f.from != "" {
		return fault.New(fault.Unsupported, "--from is for a plugin's store: there are no streams of changes of containerd's images; send them all, what the receiver has is not written again")
	}
	if s.Root == nil {
		return fault.New(fault.NotFound, "no containerd has used the store on %s yet, so it has no images to send", s.Dataset)
	}
	collection, err := imagesend.Collect(s.Root, f.namespaces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collection.Close()) }()
	now := time.Now().UTC()
	r := sendImagesReport{Header: collection.Index.Describe(now), Root: s.Root.Dir(), Incomplete: collection.Incomplete, DryRun: f.dryRun}
	if f.dryRun {
		return f.reportImages(c.out, c.out, r)
	}
	if len(r.Incomplete) > 0 && !f.skip {
		writeIncomplete(c.err, r.Incomplete)
		return fmt.Errorf("%s cannot be sent; pull them again, or leave them out with --skip-incomplete: %w", count(len(r.Incomplete), "image"), errRefused)
	}
	// A receiver that ends early must not kill this process before it has cleaned up.
	signal.Ignore(unix.SIGPIPE)
	if r.Written, err = f.writeImages(ctx, c, collection, r.Header); err != nil {
		return err
	}
	return f.reportImages(c.out, c.err, r)
}

// writeImages writes the stream, and returns its length.
func (f *sendFlags) writeImages(ctx context.Context, c console, collection *imagesend.Collection, h images.Header) (written int64, err error) {
	out, err := send.NewOutput(f.file, c.out)
	if err != nil {
		return 0, err
	}
	step, done := c.showProgress("sending", h.Bytes)
	defer done()
	err = collection.Write(ctx, writerFunc(func(p []byte) (int, error) {
		n, err := out.Write(p)
		step(int64(n))
		return n, err
	}), h.Time)
	if err == nil {
		err = out.Sync()
	}
	if err != nil {
		return 0, errors.Join(err, out.Discard())
	}
	return out.Written(), out.Name()
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// reportImages prints JSON, or text.
func (f *sendFlags) reportImages(asJSON, text io.Writer, r sendImagesReport) error {
	if f.json {
		if r.Incomplete == nil {
			r.Incomplete = []imagesend.Incomplete{}
		}
		return writeJSON(asJSON, r)
	}
	did, size := "Sent", r.Written
	if r.DryRun {
		did, size = "Would send", r.Bytes
	}
	if _, err := fmt.Fprintf(text, "%s %s, of containerd in %s: %s.\n", did, describeImages(r.Header), r.Root, bytesText(size)); err != nil {
		return err
	}
	writeIncomplete(text, r.Incomplete)
	return nil
}

func writeIncomplete(w io.Writer, incomplete []imagesend.Incomplete) {
	for _, image := range incomplete {
		fmt.Fprintf(w, "  incomplete: %s in name space %s: %s\n", fault.Printable(image.Name), fault.Printable(image.Namespace), fault.Printable(image.Reason))
	}
}

// describeImages is a stream of images in words.
func describeImages(h images.Header) string {
	where := "no name space"
	if len(h.Namespaces) > 0 {
		where = "name space " + strings.Join(h.Namespaces, ", ")
	}
	return fmt.Sprintf("%s and %s in %s", count(h.Images, "image name"), count(h.Blobs, "blob"), where)
}
