// Package layers makes the layer tars of a race: the same bytes on every machine, shaped
// like images' layers, half of their content compressible. A large tar is made while it is
// read, and stored nowhere.
package layers
