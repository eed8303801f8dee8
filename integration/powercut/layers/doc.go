// Package layers generates the content of the power-cut harness's layers from a
// seed, and checks whether content found later is whole.
//
//	layer.go    a layer's tar
//	step.go     the changes of a build step in a mounted layer
//	record.go   the records of a container, whose order can be checked afterwards
//	digest.go   the description of a layer by its content
package layers
