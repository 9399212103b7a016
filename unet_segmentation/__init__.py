"""The reference trainer: a U-Net that segments brain tumours (Dong et al. 2017), on Keras 3 and nibabel."""
