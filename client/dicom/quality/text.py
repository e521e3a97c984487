import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

def features(plane):
    stroke = plane - ndimage.grey_opening(plane, size=(9, 9))
    mask = stroke > 0.3
    labels, count = ndimage.label(mask, np.ones((3,3)))
    areas = np.bincount(labels.ravel(), minlength=count+1)
    boxes = ndimage.find_objects(labels)
    rows=[]
    for k,box in enumerate(boxes,1):
        if areas[k]<6: continue
        h=box[0].stop-box[0].start; w=box[1].stop-box[1].start
        if not (5<=h<=40 and w<=80): continue
        inside=labels[box]==k
        v=plane[box][inside]
        y0,y1,x0,x1=max(0,box[0].start-3),box[0].stop+3,max(0,box[1].start-3),box[1].stop+3
        local=plane[y0:y1,x0:x1]; m=labels[y0:y1,x0:x1]
        near=ndimage.binary_dilation(m==k,np.ones((3,3)))
        ring=local[~near & (m==0)]
        if ring.size==0: continue
        rows.append((box[0].start,box[0].stop,box[1].start,box[1].stop,areas[k]/(h*w),v.max(),np.median(v),v.std(),np.median(ring),ring.std()))
    return np.array(rows).reshape(-1,10)
