package imagereceive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
)

// leaseTime is how long containerd keeps what a killed receive has written.
const leaseTime = 7 * 24 * time.Hour

// Result says what was received.
type Result struct {
	Images   int `json:"images"`   // names of images
	Unpacked int `json:"unpacked"` // manifests for this host's platform
}

// Receive gives the images to containerd. It calls step with the number of bytes of blobs that
// were read. If it fails before the records are written, this host has the same images as before.
// Run again, it does what is missing.
func (p *Plan) Receive(ctx context.Context, step func(int64)) (result Result, err error) {
	defer func() { err = errors.Join(err, p.endLeases(context.WithoutCancel(ctx))) }()
	end := time.Now().Add(leaseTime)
	for _, namespace := range p.stream.Header.Namespaces {
		if err := p.in(namespace).TakeLeaseUntil(ctx, end); err != nil {
			return result, fmt.Errorf("lease in name space %s: %w", namespace, err)
		}
	}
	for _, blob := range p.stream.Index.Blobs {
		if err := p.receiveBlob(ctx, blob, step); err != nil {
			return result, err
		}
	}
	if err := p.stream.End(); err != nil {
		return result, err
	}
	if result.Unpacked, err = p.tieImages(ctx); err != nil {
		return result, err
	}
	result.Images = len(p.stream.Index.Images)
	return result, p.writeRecords(ctx)
}

// endLeases ends the leases of this receive, and of those that were killed. The caller's lock
// makes sure that no other receive runs.
func (p *Plan) endLeases(ctx context.Context) error {
	var errs []error
	for _, namespace := range p.stream.Header.Namespaces {
		c := p.in(namespace)
		ids, err := c.ListLeases(ctx, func(id string, _ map[string]string) bool { return strings.HasPrefix(id, leasePrefix) })
		errs = append(errs, err)
		for _, id := range ids {
			errs = append(errs, c.EndLease(ctx, id))
		}
	}
	return errors.Join(errs...)
}

// receiveBlob reads a blob, and writes it in its name spaces.
func (p *Plan) receiveBlob(ctx context.Context, blob images.Blob, step func(int64)) error {
	read := false
	copyOnce := func(w io.Writer) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		read = true
		return p.stream.Copy(countingWriter{w, step}, blob.Size)
	}
	var first *imagestore.Client
	for _, namespace := range blob.Namespaces {
		c, source := p.in(namespace), first
		size, err := c.WriteBlob(ctx, blob.Digest, blob.Sources, func(w io.Writer) error {
			if source == nil {
				return copyOnce(w)
			}
			return source.CopyBlob(ctx, blob.Digest, w) // name spaces that share no content
		})
		if errdefs.IsFailedPrecondition(err) {
			err = fault.New(fault.Invalid, "the stream's content does not match its digest: %w", err)
		}
		if err == nil && size != blob.Size {
			err = fault.New(fault.Invalid, "blob %s has %d bytes, and the stream says %d", blob.Digest, size, blob.Size)
		}
		if err != nil {
			return err
		}
		if first == nil {
			first = c
		}
	}
	if !read { // containerd has it
		return copyOnce(io.Discard)
	}
	return nil
}

// countingWriter reports each write to a progress bar.
type countingWriter struct {
	w    io.Writer
	step func(int64)
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.step(int64(n))
	return n, err
}

// writeRecords gives the images their names. An image that loses its last name in Docker's
// name space gets the one of a dangling image before.
func (p *Plan) writeRecords(ctx context.Context) error {
	for _, change := range p.Changes {
		if change.dangling == nil {
			continue
		}
		if err := p.in(change.Namespace).PutRecord(ctx, *change.dangling); err != nil {
			return err
		}
	}
	for _, image := range p.stream.Index.Images {
		c := p.in(image.Namespace)
		there, err := c.FindName(ctx, image.Name)
		if err == nil && there != image.Target.Digest {
			err = c.PutRecord(ctx, imagestore.Record{Name: image.Name, Labels: image.Labels, Target: image.Target})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
